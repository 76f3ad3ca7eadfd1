"""The graph's nodes as child processes: started together, ended in order, none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from salus_ros.die_with_parent import DIE_WITH_PARENT
from salus_ros.resources import config_file

RIG = "sim_rig"
SUPERVISOR = "safety_supervisor"
MANAGER = "lifecycle_manager"
POLICY = "vla_policy"
BRIDGE = "franka_bridge"
# The order in which they are ended: what feeds the supervisor goes before it, and the robot last,
# so that the supervisor can finish its stop.
ENDING_ORDER = (MANAGER, POLICY, "signal_publisher", "failure_predictor", SUPERVISOR, BRIDGE, RIG)

PATIENCE = 5.0  # s; how long a node may take to end before it is killed


@dataclass(frozen=True)
class NodeProcess:
    """One node to start: its module in salus_ros.nodes, parameter file and single parameters."""

    name: str
    parameter_file: Path
    parameters: Mapping[str, object] = field(default_factory=dict)

    def command(self) -> list[str]:
        """Command line."""
        command = [sys.executable, "-m", f"salus_ros.nodes.{self.name}", "--ros-args"]
        command += ["--params-file", str(self.parameter_file)]
        for name, value in self.parameters.items():
            command += ["-p", f"{name}:={_yaml_scalar(value)}"]
        return command


def _yaml_scalar(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    # Quoted, so that a text such as "1" or "on" stays a text.
    return f'"{value}"' if isinstance(value, str) else str(value)


class ProcessGroup:
    """Starts node processes and ends them; a context manager that leaves nothing running.

    log_folder: where each node's output goes, one file each; None: to this process's own output.
    """

    def __init__(self, nodes: Sequence[NodeProcess], log_folder: Path | None = None) -> None:
        self._nodes = list(nodes)
        self._log_folder = log_folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> ProcessGroup:
        try:
            for node in self._nodes:
                self.start(node)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self, node: NodeProcess) -> None:
        """Start one node, in a session of its own so that Ctrl-C reaches only this process."""
        with _interruption.put_off(), ExitStack() as files:
            output = None
            if self._log_folder is not None:
                output = files.enter_context((self._log_folder / f"{node.name}.log").open("ab"))
            self.processes[node.name] = subprocess.Popen(
                node.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
            )

    def ended(self) -> dict[str, int]:
        """Exit codes of the nodes that have ended."""
        codes = {name: process.poll() for name, process in self.processes.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def restart(self, name: str) -> None:
        """Start a node that has ended again."""
        self.start(next(node for node in self._nodes if node.name == name))

    def last_error(self, name: str) -> str:
        """The last line in a node's log that tells of an error; "" where there is none."""
        if self._log_folder is None:
            return ""
        lines = (self._log_folder / f"{name}.log").read_text(errors="replace").splitlines()
        wanted = ("error:", "[ERROR]", "[FATAL]", "Error:")
        return next((line for line in reversed(lines) if any(w in line for w in wanted)), "")

    def end(self) -> None:
        """Interrupt the nodes in order; kill what doesn't end in time."""
        for name in sorted(self.processes, key=_ending_rank):
            process = self.processes[name]
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            if name in (MANAGER, SUPERVISOR, BRIDGE, RIG):
                _wait(process)
        for process in self.processes.values():
            _wait(process)


def _ending_rank(name: str) -> int:
    return ENDING_ORDER.index(name) if name in ENDING_ORDER else 0


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def temporary_log_folder() -> tempfile.TemporaryDirectory[str]:
    """Folder for the nodes' output, removed when the caller is done with it."""
    return tempfile.TemporaryDirectory(prefix="salus_")


def quiet_environment(log_folder: Path | None) -> None:
    """Set what the child processes inherit: this machine only, logs in one place.

    Whatever the user has set stands.
    """
    stay_on_this_machine()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    os.environ[DIE_WITH_PARENT] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if log_folder is not None:
        os.environ.setdefault("ROS_LOG_DIR", str(log_folder))


class _Interruption:
    """Turns the first SIGINT or SIGTERM into a KeyboardInterrupt, and ignores what comes after it.

    An interrupt inside Popen would lose a child that runs already: so it can be put off.
    """

    def __init__(self) -> None:
        self._put_off = False
        self._pending = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self._pending = True
        self._raise_if_due()

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Let a signal wait until the block has been left."""
        self._put_off = True
        try:
            yield
        finally:
            self._put_off = False
            self._raise_if_due()

    def _raise_if_due(self) -> None:
        if self._pending and not self._put_off:
            self._pending = False
            raise KeyboardInterrupt


_interruption = _Interruption()


def interrupt_on_signals() -> None:
    """Have the first SIGINT or SIGTERM raise KeyboardInterrupt, and ignore what comes after it.

    Also where SIGINT was ignored at the start, as by a shell for what it runs in the background.
    Ending the nodes must not be interrupted.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interruption.handle)


def stay_on_this_machine() -> None:
    """Discovery and data over loopback UDP alone, unless the user has chosen a range.

    ROS's own LOCALHOST range would do so over shared memory, too: see config/fastdds_loopback.xml.
    """
    if "ROS_AUTOMATIC_DISCOVERY_RANGE" not in os.environ:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SYSTEM_DEFAULT"
        os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(config_file("fastdds_loopback.xml"))
