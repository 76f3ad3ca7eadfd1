"""What `salus demo` shows: one live line block while it runs, two tables at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from salus_ros.cli.demo_result import EpisodeResult
from salus_ros.cli.demo_statistics import ControlStatistics

if TYPE_CHECKING:
    from salus_ros.nodes.graph_client import GraphClient

MODES = ("INACTIVE", "NOMINAL", "LIMITED", "SLOW", "HOLD", "STOP", "ESTOP")
COLORS = {"NOMINAL": "green", "LIMITED": "yellow", "SLOW": "yellow"}


class LiveView:
    """A context manager; a terminal is redrawn in place, elsewhere each episode is a line."""

    def __init__(
        self, console: Console, client: GraphClient, statistics: ControlStatistics, episodes: int
    ) -> None:
        self._console = console
        self._client = client
        self._statistics = statistics
        self._episodes = episodes
        self._number = 0
        self._title = "starting the graph"
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live.start()
        self.refresh()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live.is_started:
            self._live.stop()

    def begin(self, number: int, instruction: str) -> None:
        """An episode begins."""
        self._number = number
        self._title = f"episode {number}/{self._episodes}: {instruction}"
        self.refresh()

    def end(self, result: EpisodeResult) -> None:
        """An episode has ended."""
        self._console.print(episode_line(self._number, self._episodes, result))

    def refresh(self) -> None:
        """Draw the present state."""
        if not self._live.is_started:
            return
        state = self._client.state
        mode = MODES[state.mode] if state.mode < len(MODES) else str(state.mode)
        table = Table.grid(padding=(0, 2))
        table.add_row("[bold]" + self._title)
        table.add_row(
            f"mode [{COLORS.get(mode, 'red')}]{mode}[/] {', '.join(state.reasons)}",
            f"commands {self._statistics.recent_rate():6.1f} Hz",
            f"latency {_latency(self._statistics)}",
            f"risk {_risk(self._client.prediction)}",
        )
        self._live.update(table)


def episode_line(number: int, episodes: int, result: EpisodeResult) -> str:
    """One line for an episode that has ended."""
    title = f"episode {number}/{episodes}: {result.instruction}"
    return f"{title}: {_outcome(result)}, {result.seconds:.1f} s"


def _outcome(result: EpisodeResult) -> str:
    if result.success:
        return "[green]success[/]"
    return f"[red]{result.failure_type or 'failed'}[/]"


def _latency(statistics: ControlStatistics) -> str:
    return f"{statistics.latencies[-1] * 1e3:.0f} ms" if statistics.latencies else "-"


def _risk(prediction: Any) -> str:
    if not prediction.valid:
        return "unknown (no checkpoint)"
    return f"{prediction.episode_failure_probability:.2f}"


def outcome_table(results: Sequence[EpisodeResult]) -> Table:
    """One row an episode."""
    table = Table("episode", "instruction", "seed", "outcome", "seconds", title="Outcomes")
    for number, result in enumerate(results, start=1):
        row = (result.instruction, str(result.seed), _outcome(result), f"{result.seconds:.2f}")
        table.add_row(str(number), *row)
    successes = sum(result.success for result in results)
    table.caption = f"{successes} of {len(results)} succeeded"
    return table


def summary_table(statistics: ControlStatistics) -> Table:
    """Control rate, deadlines, latency, interventions."""
    control, latency = statistics.control(), statistics.latency_ms()
    table = Table("measure", "value", title="Control")
    table.add_row("control rate", _with_unit(control["rate_hz"], "Hz"))
    table.add_row("period, 99th percentile", _with_unit(control["period_p99_ms"], "ms"))
    missed = control["missed_deadline_fraction"]
    table.add_row("missed deadlines", "-" if missed is None else f"{100 * missed:.3f} %")
    table.add_row("observation to command, median", _with_unit(latency["p50"], "ms"))
    table.add_row("observation to command, 99th percentile", _with_unit(latency["p99"], "ms"))
    for reason, count in statistics.interventions.most_common():
        table.add_row(f"intervention: {reason}", str(count))
    return table


def _with_unit(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f} {unit}"
