"""How `salus top` shows the graph on a terminal."""

from __future__ import annotations

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from salus_ros.cli.top_state import SignalView, Stream, TopState

MODE_COLORS = {
    "NOMINAL": "bold green",
    "LIMITED": "bold yellow",
    "SLOW": "bold yellow",
    "HOLD": "bold dark_orange",
    "STOP": "bold red",
    "ESTOP": "bold white on red",
}
STATE_COLORS = {"active": "green", "up": "green", "lost": "bold red", "silent": "dim"}
BAR = 16
# Signals that have a range; the others' bars are of the largest value so far.
RANGES = {"softmax_entropy": 1.0, "max_softmax_prob": 1.0, "constraint_margin": 0.5}
LIKELY = 0.6


def view(state: TopState, now: float) -> RenderableType:
    """The whole picture at a time [s, steady clock]."""
    left = Group(_nodes(state, now), _streams(state, now), _policy(state, now))
    right = Group(_signals(state), _prediction(state))
    return Group(_mode(state), Columns([left, right]), _interventions(state))


def _mode(state: TopState) -> Panel:
    mode = state.mode or "no supervisor"
    line = Text(f" {mode} ", MODE_COLORS.get(mode, "dim"))
    line.append(f"  {', '.join(state.reasons)}", "default")
    facts = state.supervisor
    rest = []
    if facts:
        rest += [
            "at rest" if facts["at_rest"] else "moves",
            f"{facts['plan_deviation']:.4f} rad from its plan" if _known(facts) else "no plan",
            f"{facts['tracking_error']:.4f} rad from the command",
            f"{facts['missed_deadlines']} of {facts['commands_sent']} ticks late",
            "real-time" if facts["realtime"] else "default scheduler",
        ]
    told = [f"robot: {state.robot}"] if state.robot else []
    told += [f"instruction: {state.instruction}"] if state.instruction else []
    lines = [line, Text(", ".join(rest), "dim"), *(Text(text) for text in told)]
    return Panel(Group(*lines), title="supervisor", title_align="left")


def _known(facts: dict[str, float]) -> bool:
    return facts["plan_deviation"] >= 0.0


def _nodes(state: TopState, now: float) -> Table:
    table = Table("node", "state", "beat", title="nodes", title_justify="left", expand=False)
    for node in state.nodes:
        text = state.node_state(node, now)
        silent = state.heartbeats[node].silent_for(now) if node in state.heartbeats else None
        beat = "" if silent is None else f"{silent:.1f} s"
        table.add_row(node, Text(text, STATE_COLORS.get(text, "yellow")), beat)
    return table


def _streams(state: TopState, now: float) -> Table:
    table = Table("topic", "Hz", "age ms", "p99", title="topics", title_justify="left")
    for name, stream in state.streams.items():
        rate = stream.rate(now)
        style = "" if rate else "dim"
        p50, p99 = _milliseconds(stream, now, 0.5), _milliseconds(stream, now, 0.99)
        table.add_row(name, f"{rate:.1f}", p50, p99, style=style)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _milliseconds(stream: Stream, now: float, share: float) -> str:
    age = stream.age(now, share)
    return "" if age is None else f"{1e3 * age:.1f}"


def _policy(state: TopState, now: float) -> Table:
    table = Table("stage", "ms", title="inference", title_justify="left")
    for name, seconds in state.inference.items():
        table.add_row(Text(name), f"{1e3 * seconds:.1f}")
    total = state.inference_time
    if total.last is not None:
        whole = f"{_milliseconds(total, now, 0.5)}, p99 {_milliseconds(total, now, 0.99)}"
        table.add_row("whole", whole)
    table.columns[1].justify = "right"
    return table


def _signals(state: TopState) -> Table:
    table = Table("signal", "", "value", title="signals", title_justify="left")
    for name, signal in state.signals.items():
        value = f"{signal.value:.4g}" if signal.valid else "not valid"
        style = "" if signal.valid else "dim"
        table.add_row(name, _signal_bar(name, signal), value, style=style)
    return table


def _signal_bar(name: str, signal: SignalView) -> Text:
    if not signal.valid:
        return Text("·" * BAR, "dim")
    return bar(abs(signal.value), RANGES.get(name, signal.largest), "cyan")


def bar(value: float, whole: float, color: str) -> Text:
    """A bar of a value's share of the whole, in eighths of a character."""
    share = min(max(value / whole, 0.0), 1.0) if whole > 0 else 0.0
    eighths = round(share * BAR * 8)
    full, part = divmod(eighths, 8)
    drawn = "█" * full + ("▏▎▍▌▋▊▉"[part - 1] if part else "")
    return Text(drawn.ljust(BAR), color)


def _prediction(state: TopState) -> Table:
    title = "failure prediction" + (" - ALARM" if state.alarm else "")
    table = Table("type", "", title=title, title_justify="left")
    if not state.prediction_valid:
        table.add_row("not valid", "", style="dim")
        return table
    for horizon in state.horizons:
        table.add_column(f"{horizon:g} s", justify="right")
    for column, kind in enumerate(state.failure_types):
        row = [line[column] for line in state.probabilities]
        color = "red" if row[-1] >= LIKELY else "green"
        table.add_row(Text(kind), bar(row[-1], 1.0, color), *(f"{p:.2f}" for p in row))
    color = "red" if state.episode_failure >= LIKELY else "green"
    table.add_row("episode", bar(state.episode_failure, 1.0, color), f"{state.episode_failure:.2f}")
    return table


def _interventions(state: TopState) -> Table:
    table = Table("time", "mode", "reason", "", title="last interventions", title_justify="left")
    for line in state.interventions:
        # As text: what others publish may look like rich's markup.
        table.add_row(*map(Text, (line.time, line.modes, line.reason, line.message)))
    return table
