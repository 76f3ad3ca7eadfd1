"""One setting of `salus bench gate`: the whole graph with both nodes, under load, for some time."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from salus_ros.bench.gate_load import IdleClock, busy_cores
from salus_ros.bench.gate_record import Recording
from salus_ros.cli.graph import chosen_domain, graph_processes, use_free_domain
from salus_ros.cli.processes import (
    MANAGER,
    RIG,
    SUPERVISOR,
    NodeProcess,
    ProcessGroup,
    quiet_environment,
)
from salus_ros.nodes.bench_client import BenchClient
from salus_ros.nodes.graph_client import GraphError
from salus_ros.policy_choice import choose_policy

BARE = "bench_bare_timer"
PRIORITY = 80
START_TIMEOUT = 60.0  # s
EPISODE_TIMEOUT = 60.0  # s; the rig ends an episode after 15

# Every check that is there is switched on. That busy cores delay what other processes send must not
# hold the arm, for then less would be timed: bounds of age are wide, and checked all the same.
CHECKS_ON: Mapping[str, object] = {
    "joint_state_age_hold": 0.5,
    "joint_state_age_stop": 2.0,
    "observation_age": 2.0,
    "clock_lag": 2.0,
    "tracking_error": 0.5,
    "require_prediction": True,
    "prediction_age": 5.0,
    "require_manager": True,
    "manager_age": 10.0,
    "require_enable": True,
    "enable_age": 5.0,
}


class BenchError(RuntimeError):
    """A setting couldn't be measured; the message is one line for the user."""


@dataclass(frozen=True)
class Setting:
    """What is varied: commands per second, SCHED_FIFO or not, callables timed or not.

    detectors: their calibration; "": that of the parameter file, if it names one. busy: every core
    has something else to do all the time.
    """

    rate: int
    fifo: bool
    profile: bool = False
    detectors: str = ""
    busy: bool = True

    @property
    def priority(self) -> int:
        """For both nodes; 0: the default scheduler."""
        return PRIORITY if self.fifo else 0

    @property
    def text(self) -> str:
        """For progress."""
        what = ", by check" if self.profile else ""
        what += "" if self.busy else ", cores not kept busy"
        return f"{self.rate} Hz, {'SCHED_FIFO' if self.fifo else 'default scheduler'}{what}"


@dataclass(frozen=True)
class BenchProcess(NodeProcess):
    """One of the two nodes that keep a record; arguments: those before --ros-args."""

    arguments: tuple[str, ...] = field(default=())

    def command(self) -> list[str]:
        """Command line."""
        usual = super().command()
        ros = usual[usual.index("--ros-args") :] if self.name == SUPERVISOR else []
        # What compiled modules call of each other can't be timed: a profile is of the sources.
        interpreted = ["env", "SALUS_INTERPRETED=1"] if "--profile" in self.arguments else []
        module = [sys.executable, "-m", "salus_ros.nodes.bench_gate"]
        return [*interpreted, *module, *self.arguments, *ros]


@dataclass(frozen=True)
class Measured:
    """Both nodes' records, and how busy the cores were."""

    supervisor: Recording
    bare: Recording
    cores: Mapping[str, float]


def measure_setting(
    setting: Setting, config: Path, seconds: float, on_progress: Callable[[float], None]
) -> Measured:
    """Run episodes until the arm was under way for so long. Raises BenchError.

    on_progress: called with the seconds measured so far.
    """
    with tempfile.TemporaryDirectory(prefix="salus_bench_") as name:
        folder = Path(name)
        try:
            with ExitStack() as stack:
                client = BenchClient()
                stack.enter_context(client)
                group = stack.enter_context(
                    ProcessGroup(_processes(setting, config, folder), folder)
                )
                _wait_for_services(client, group)
                if setting.busy:
                    stack.enter_context(busy_cores())
                clock = IdleClock()
                _run_episodes(client, group, seconds, on_progress)
                cores = clock.shares()
            return Measured(_load(folder, SUPERVISOR), _load(folder, BARE), cores)
        except GraphError as error:
            raise BenchError(f"{setting.text}: {error}") from error


def _processes(setting: Setting, config: Path, folder: Path) -> list[NodeProcess]:
    chosen = choose_policy(config, "scripted_expert")
    parameters: dict[str, dict[str, object]] = {
        **chosen,
        RIG: {"reset_at_start": False},
        MANAGER: {"autostart": False, "heartbeat_timeout": 30.0},
        SUPERVISOR: {
            **chosen.get(SUPERVISOR, {}),
            **CHECKS_ON,
            "rate": float(setting.rate),
            "realtime_priority": setting.priority,
            "journal_folder": str(folder / "journal"),
        },
    }
    if setting.detectors:
        parameters[SUPERVISOR]["detector_calibration"] = setting.detectors
    graph = [node for node in graph_processes(config, True, parameters) if node.name != SUPERVISOR]
    return [*graph, *_recorded(setting, config, folder, parameters[SUPERVISOR])]


def _recorded(
    setting: Setting, config: Path, folder: Path, parameters: Mapping[str, object]
) -> list[NodeProcess]:
    profile = ("--profile",) if setting.profile else ()
    ours = ("supervisor", "--record", str(_record(folder, SUPERVISOR)), *profile)
    bare = ("bare", "--record", str(_record(folder, BARE)), "--rate", str(setting.rate))
    return [
        BenchProcess(SUPERVISOR, config, parameters, ours),
        BenchProcess(BARE, config, {}, (*bare, "--priority", str(setting.priority))),
    ]


def _record(folder: Path, node: str) -> Path:
    return folder / f"{node}.json"


def _load(folder: Path, node: str) -> Recording:
    try:
        return Recording.load(_record(folder, node))
    except (OSError, ValueError) as error:
        log = (folder / f"{node}.log").read_text(errors="replace").strip().splitlines()
        last = log[-1] if log else "its log is empty"
        raise BenchError(f"{node} kept no record: {last}") from error


def _wait_for_services(client: BenchClient, group: ProcessGroup) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not client.services_ready():
        _fail_if_ended(group)
        if time.monotonic() > deadline:
            raise BenchError(f"the graph is not there after {START_TIMEOUT:g} s")
        time.sleep(0.05)


def _run_episodes(
    client: BenchClient,
    group: ProcessGroup,
    seconds: float,
    on_progress: Callable[[float], None],
) -> None:
    """Episode after episode, for the arm to be under way most of the time."""
    measured, number = 0.0, 0
    while measured < seconds:
        number += 1
        client.reset_rig(instruction="pick up the red block", seed=number, disturbance="")
        client.run(True)
        begin = time.monotonic()
        while measured + time.monotonic() - begin < seconds:
            if client.episode_ended(number, timeout=0.2):
                break
            _fail_if_ended(group)
            if time.monotonic() - begin > EPISODE_TIMEOUT:
                raise BenchError(f"an episode did not end: {client.last_reason()}")
            on_progress(measured + time.monotonic() - begin)
        measured += time.monotonic() - begin
        client.run(False)


def _fail_if_ended(group: ProcessGroup) -> None:
    for name, code in group.ended().items():
        error = group.last_error(name) or "its log names no error"
        raise BenchError(f"{name} ended with exit code {code}: {error}")


def use_own_domain() -> None:
    """Talk on this machine alone, on a domain that nobody uses unless the user chose one."""
    quiet_environment(None)
    if chosen_domain() is None:
        use_free_domain()
