"""The page of a replay: tables, and for each bag plots whose times are linked, with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from salus_ros.replay.plot_data import MODE_NAMES, PlotData
from salus_ros.reporting import html_figures, html_table

BAGS_MAX = 20
HEIGHT = 230  # pixels a panel
MOMENTS_SIDE_BY_SIDE = 50
MARGIN = 110  # pixels above the panels, for the reasons of interventions
# From the lowest panel to the highest one.
_THROUGH = {
    "type": "line",
    "y0": 0,
    "y1": 1,
    "yref": "paper",
    "line": {"dash": "dot", "width": 1},
    "opacity": 0.5,
}
# Above the first panel and its title.
_ABOVE = {
    "y": 1,
    "yref": "paper",
    "yshift": 22,
    "yanchor": "bottom",
    "xanchor": "left",
    "showarrow": False,
    "textangle": -60,
    "font": {"size": 10},
}
_BESIDE = {"yanchor": "top", "font": {"size": 10}, "tracegroupgap": 0}
_STYLE = (
    "body{font-family:sans-serif;margin:2em;max-width:1100px}table{border-collapse:collapse;margin-bottom:1em}"
    "td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}figure{display:inline-block;"
    "margin:.4em}figcaption{font-size:.8em}img{image-rendering:pixelated;width:160px}"
)


def write_page(file: Path, content: dict[str, Any], plots: Sequence[PlotData]) -> None:
    """Write the page; it needs no network. ImportError without plotly, OSError."""
    shown = plots[:BAGS_MAX]
    figures = html_figures([_figure(plot) for plot in shown])
    parts = [
        f"<!doctype html><meta charset='utf-8'><title>SALUS replay</title><style>{_STYLE}</style>",
        "<h1>Replay</h1>",
        *_overview(content),
    ]
    notes = {b["bag"]: [f"<p>{escape(n)}</p>" for n in b["notes"]] for b in content["bags"]}
    for plot, figure in zip(shown, figures, strict=True):
        parts += [f"<h2>{escape(plot.bag)}</h2>", *notes[plot.bag], figure, *_pictures(plot)]
    if len(plots) > len(shown):
        parts.append(f"<p>{len(plots) - len(shown)} more bags are in the JSON alone.</p>")
    file.write_text("\n".join(parts) + "\n")


def _overview(content: dict[str, Any]) -> list[str]:
    scores, apart = content["scores"], content["differences"]
    rows = [
        ("bags replayed", f"{content['bags_replayed']}"),
        ("recorded", f"{scores['seconds']:.1f} s"),
        ("commands as recorded", f"{apart['commands_identical']} of {apart['commands_compared']}"),
        *((f"time in {mode}", f"{100 * share:.2f} %") for mode, share in scores["modes"].items()),
        *((f"intervention: {r}", f"{n}") for r, n in scores["interventions"].items()),
        ("fingerprint of the outputs", content["fingerprint"]),
        ("fingerprint of the inputs", content["inputs"]["fingerprint"]),
    ]
    parts = [html_table(("measure", "value"), rows)]
    spread = ("velocity_use", "acceleration_use", "jerk_use", "policy_latency", "observation_age")
    measured = [(n, scores[n]) for n in (*spread, "joint_state_age") if scores.get(n)]
    head = ("measure", "median", "95 %", "99 %", "largest")
    keys = ("p50", "p95", "p99", "max")
    parts.append(html_table(head, ((n, *(f"{v[k]:.4g}" for k in keys)) for n, v in measured)))
    if content["failed"]:
        lines = ((entry["problem"],) for entry in content["failed"])
        parts += ["<h2>Left out</h2>", html_table(("why",), lines)]
    return parts + _comparison(content.get("comparison"))


def _comparison(told: dict[str, Any] | None) -> list[str]:
    if told is None:
        return []
    rows = [
        (side, stop["bag"], *_when(stop), stop["mode"], ", ".join(stop["reasons"]))
        for side in ("first", "second")
        for stop in told[f"stopped_by_{side}_only"]
    ]
    head = ("stopped by", "bag", "at", "for", "mode", "reasons")
    return ["<h2>What only one configuration stopped</h2>", html_table(head, rows)]


def _when(stop: dict[str, Any]) -> tuple[str, str]:
    return f"{stop['time']:.2f} s", f"{stop['seconds']:.2f} s"


def _figure(plot: PlotData) -> Any:
    from plotly.subplots import make_subplots  # noqa: PLC0415 - only a report needs plotly

    panels = {title: lines for title, lines in plot.panels.items() if lines}
    height = HEIGHT * max(len(panels), 1) + 2 * MARGIN
    figure = make_subplots(
        rows=max(len(panels), 1),
        cols=1,
        shared_xaxes=True,
        subplot_titles=list(panels),
        vertical_spacing=0.04,
    )
    for row, (title, lines) in enumerate(panels.items(), start=1):
        shape = "hv" if title == "mode" else "linear"
        for name, (times, values) in lines.items():
            line = {"shape": shape, "width": 1.2}
            told = {"name": name, "line": line, "legend": _legend(row)}
            figure.add_scatter(x=times, y=values, row=row, col=1, **told)
        if title == "mode":
            ticks = {"tickvals": list(MODE_NAMES), "ticktext": list(MODE_NAMES.values())}
            figure.update_yaxes(row=row, col=1, **ticks)
    # All at once: plotly looks through those there are for each that is added.
    moments = _legible(plot.moments, _end(plot))
    through = [{"x0": time, "x1": time, **_THROUGH} for time, _ in moments]
    reasons = [{"x": time, "text": escape(reason), **_ABOVE} for time, reason in moments]
    figure.update_layout(shapes=through, annotations=[*figure.layout.annotations, *reasons])
    figure.update_xaxes(title_text="s since the first tick", row=max(len(panels), 1), col=1)
    figure.update_layout(height=height, margin={"t": MARGIN, "b": 60}, hovermode="x unified")
    for row in range(1, len(panels) + 1):
        top = figure.get_subplot(row, 1).yaxis.domain[1]
        figure.update_layout({_legend(row): {"y": top, **_BESIDE}})
    return figure


def _end(plot: PlotData) -> float:
    """When the last line ends [s]."""
    lines = [line for panel in plot.panels.values() for line in panel.values()]
    return max((times[-1] for times, _ in lines if times), default=0.0)


def _legible(moments: Sequence[tuple[float, str]], span: float) -> list[tuple[float, str]]:
    """Without those that would stand on the last one of the same reason."""
    last: dict[str, float] = {}
    found = []
    for time, reason in moments:
        if reason not in last or time - last[reason] > span / MOMENTS_SIDE_BY_SIDE:
            last[reason] = time
            found.append((time, reason))
    return found


def _legend(row: int) -> str:
    """Each panel has its own."""
    return "legend" if row == 1 else f"legend{row}"


def _pictures(plot: PlotData) -> list[str]:
    return [
        f"<figure><img src='{picture.image}' alt='{escape(picture.caption)}'>"
        f"<figcaption>{picture.time:.2f} s, {escape(picture.caption)}</figcaption></figure>"
        for picture in plot.pictures
        if picture.image
    ]
