"""`salus demo`: the whole graph on the simulated Panda, watched live, judged at the end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from salus_ros.bench.provenance import provenance
from salus_ros.cli.bring_up import explained, wait_for_end, wait_for_graph
from salus_ros.cli.demo_result import EpisodeResult
from salus_ros.cli.demo_statistics import ControlStatistics
from salus_ros.cli.demo_view import LiveView, episode_line, outcome_table, summary_table
from salus_ros.cli.errors import INTERRUPTED, USAGE, UserError
from salus_ros.cli.graph import (
    chosen_domain,
    graph_processes,
    parameter_file,
    require_ros,
    use_free_domain,
)
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json
from salus_ros.cli.processes import (
    MANAGER,
    POLICY,
    RIG,
    SUPERVISOR,
    ProcessGroup,
    interrupt_on_signals,
    quiet_environment,
    temporary_log_folder,
)
from salus_ros.interfaces import nanoseconds
from salus_ros.policy_choice import choose_policy
from salus_ros.replay.storage import Storage
from salus_ros.resources import file_parameter

if TYPE_CHECKING:
    from salus_ros.nodes.graph_client import GraphClient
    from salus_ros.sim.episode import EpisodeStatus
    from salus_ros.sim.lockstep import EpisodeRun

DISCOVERY = 1.5  # s until the nodes of a domain know each other, on a busy machine
GRACE = 10.0  # s beyond the time limit until an episode that doesn't end counts as lost


@dataclass
class DemoOptions:
    """What `salus demo` was asked for."""

    episodes: int
    seed: int
    policy: str
    instruction: str
    disturbance: str
    config: Path
    results: list[EpisodeResult] = field(default_factory=list)


def demo(
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to run.")] = 3,
    seed: Annotated[int, typer.Option(min=0, max=100_000, help="Seed of the start states.")] = 0,
    policy: Annotated[str, typer.Option(help="Policy; empty: the parameter file's.")] = "",
    instruction: Annotated[
        str, typer.Option(help="Task; empty: picks of each colour in turn.")
    ] = "",
    disturbance: Annotated[str, typer.Option(help="Disturbance of each episode.")] = "",
    record: Annotated[
        Path | None, typer.Option(help="New folder to record all topics to (rosbag2).")
    ] = None,
    storage: Annotated[Storage, typer.Option(help="File format of --record.")] = Storage.MCAP,
    lock_step: Annotated[
        bool, typer.Option("--lock-step/--real-time", help="One process, no DDS, no waiting.")
    ] = False,
    headless: Annotated[bool, typer.Option("--headless/--window", help="Show no window.")] = True,
    json_file: JsonFile = "",
    config: Annotated[str, typer.Option(help="Parameter file.")] = "sim_panda",
) -> None:
    """Run episodes on the simulated Panda through the real topics.

    Example: salus demo --episodes 10 --seed 1 --headless

    Exit code: 0 where all episodes ran, whatever their outcome; 1 where the graph failed; 2 for a
    wrong option; 130 after Ctrl-C.
    """
    from salus_ros.policy.registry import DEFAULT_BACKEND

    file = parameter_file(config)
    policy = policy or file_parameter(file, POLICY, "policy") or DEFAULT_BACKEND
    options = DemoOptions(episodes, seed, policy, instruction, disturbance, file)
    _check(options, record)
    console = Console(stderr=json_file == "-")
    statistics = ControlStatistics(nanoseconds(1.0 / _rate(file)))
    interrupt_on_signals()
    interrupted = False
    try:
        if lock_step:
            _run_lockstep(options, statistics, console, record)
        else:
            _run(options, statistics, console, (record, storage), headless)
    except KeyboardInterrupt:
        interrupted = True
    console.print(outcome_table(options.results))
    console.print(summary_table(statistics))
    if json_file:
        write_json(json_file, report(options, statistics))
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _rate(config: Path) -> float:
    """Commands per second of the supervisor [Hz]."""
    return float(file_parameter(config, SUPERVISOR, "rate") or 100.0)


def _check(options: DemoOptions, record: Path | None) -> None:
    """Raise UserError for an option that can't be used, before anything is started."""
    require_ros()
    from salus_ros.policy.registry import BACKEND_NAMES
    from salus_ros.sim.disturbances import kind_of
    from salus_ros.sim.tasks import parse_instruction

    if options.policy not in BACKEND_NAMES:
        known = ", ".join(BACKEND_NAMES)
        raise UserError(f"unknown policy '{options.policy}'; known: {known}", USAGE)
    try:
        if options.instruction:
            parse_instruction(options.instruction)
        if options.disturbance:
            kind_of(options.disturbance)
    except ValueError as error:
        raise UserError(str(error), USAGE) from error
    if record is not None and record.exists():
        raise UserError(f"{record} exists: give a folder that doesn't", USAGE)


def _run(
    options: DemoOptions,
    statistics: ControlStatistics,
    console: Console,
    record: tuple[Path | None, Storage],
    headless: bool,
) -> None:
    """Start the graph, run the episodes, end the graph; raises UserError where it fails."""
    from salus_ros.nodes.graph_client import GraphClient, GraphError

    with ExitStack() as stack:
        log_folder = Path(stack.enter_context(temporary_log_folder()))
        quiet_environment(log_folder)
        domain = chosen_domain()
        if domain is None:
            use_free_domain()
        client = stack.enter_context(
            GraphClient(
                statistics.on_command,
                lambda message: statistics.on_intervention(message.reason),
                lambda state: statistics.on_plan(
                    state.source_id, state.chunk_number, state.observation_age
                ),
            )
        )
        if domain is not None:
            _refuse_second_graph(client, domain)
        group = stack.enter_context(ProcessGroup(_processes(options, headless), log_folder))
        folder, storage = record
        recorder = None
        if folder is not None:
            recorder = stack.enter_context(client.recording(folder, storage))
        view = stack.enter_context(LiveView(console, client, statistics, options.episodes))
        try:
            wait_for_graph(client, group)
            _run_episodes(options, client, group, view)
        except GraphError as error:
            raise UserError(explained(str(error), group)) from error
        if recorder is not None and recorder.problem:
            raise UserError(recorder.problem)


def _run_lockstep(
    options: DemoOptions, statistics: ControlStatistics, console: Console, record: Path | None
) -> None:
    from salus_ros.sim.lockstep_series import interventions, run_series, times_real_time
    from salus_ros.sim.series import episode_series

    if record is not None:
        raise UserError("--record needs the topics of --real-time", USAGE)
    series = episode_series(options.episodes, options.seed, options.instruction)

    def show(run: EpisodeRun) -> None:
        options.results.append(_result(run.status))
        console.print(episode_line(len(options.results), options.episodes, options.results[-1]))

    runs = run_series(series, options.policy, options.disturbance, on_episode=show)
    statistics.interventions = interventions(runs)
    console.print(f"{times_real_time(runs):.1f} times real time")


def _result(status: EpisodeStatus) -> EpisodeResult:
    return EpisodeResult(
        status.instruction,
        status.seed,
        status.disturbance,
        status.success,
        status.failure_type,
        round(status.end, 3),
    )


def _processes(options: DemoOptions, headless: bool) -> list[Any]:
    parameters: dict[str, dict[str, object]] = {
        RIG: {"reset_at_start": False, "window": not headless},
        MANAGER: {"autostart": False},
        **choose_policy(options.config, options.policy),
    }
    return graph_processes(options.config, True, parameters)


def _refuse_second_graph(client: GraphClient, domain: int) -> None:
    """Raise UserError where this domain already has a supervisor or a rig."""
    deadline = time.monotonic() + DISCOVERY
    while time.monotonic() < deadline:
        taken = {SUPERVISOR, RIG} & set(client.node_names())
        if taken:
            raise UserError(
                f"ROS domain {domain} already has a {sorted(taken)[0]}: end it, or choose another "
                "ROS_DOMAIN_ID"
            )
        time.sleep(0.05)


def _run_episodes(
    options: DemoOptions, client: GraphClient, group: ProcessGroup, view: LiveView
) -> None:
    from salus_ros.sim.series import episode_series

    series = episode_series(options.episodes, options.seed, options.instruction)
    for number, (instruction, seed) in enumerate(series, start=1):
        client.reset_rig(instruction=instruction, seed=seed, disturbance=options.disturbance)
        view.begin(number, instruction)
        client.run(True)
        result = _wait_for_end(options, client, group, number, view)
        client.run(False)
        options.results.append(result)
        view.end(result)


def _wait_for_end(
    options: DemoOptions, client: GraphClient, group: ProcessGroup, number: int, view: LiveView
) -> EpisodeResult:
    time_limit = file_parameter(options.config, RIG, "time_limit") or 15.0
    if not wait_for_end(client, group, number, time_limit + GRACE, view.refresh):
        raise UserError(f"episode {number} did not end in time: {client.last_reason()}")
    return _result(client.episode)


def report(options: DemoOptions, statistics: ControlStatistics) -> dict[str, Any]:
    """The results for machines."""
    successes = sum(result.success for result in options.results)
    return {
        "episodes": [asdict(result) for result in options.results],
        "success_rate": successes / len(options.results) if options.results else None,
        "control": statistics.control(),
        "latency_ms": statistics.latency_ms(),
        "interventions": dict(statistics.interventions),
        "policy": options.policy,
        "seed": options.seed,
        **provenance(),
    }
