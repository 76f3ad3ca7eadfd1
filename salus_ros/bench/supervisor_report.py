"""The supervisor's evaluation as one HTML page with plots; needs plotly, no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from salus_ros.interfaces import FloatArray
from salus_ros.reporting import html_figures, html_table

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#555555", "#e69f00")
_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Supervisor: what its detectors find</title>
<style>body{font-family:sans-serif;max-width:1100px;margin:2em auto}
td,th{padding:.15em .8em;text-align:right}td:first-child{text-align:left}</style></head><body>
<h1>Supervisor: what its detectors find</h1>"""


def write_report(
    file: Path, content: dict[str, Any], trace: tuple[FloatArray, int, Sequence[str]] | None
) -> None:
    """Write the page. ImportError where plotly is missing, OSError if it can't be written.

    trace: scores over thresholds [n, detectors] of an episode, onset of its fault, the names.
    """
    rows, sequences = bool(content["auc"]), bool(content["sequences"])
    figures = [_roc(content["roc"]), _curve(content["curve"])] if rows else []
    if sequences:
        figures.append(_by_size(content["by_size"]))
    if trace is not None:
        figures.append(_episode(*trace))
    parts = [_HEAD]
    if rows:
        parts += ["<h2>Single rows</h2>", _rows_table(content)]
    if sequences:
        parts += ["<h2>Sequences</h2>", _false_alarms(content), _sequence_table(content)]
    file.write_text("\n".join([*parts, *html_figures(figures), "</body></html>"]), encoding="utf-8")


def _roc(curves: dict[str, dict[str, list[float]]]) -> Any:
    from plotly.graph_objects import Figure, Scatter  # noqa: PLC0415

    figure = Figure()
    for (kind, curve), colour in zip(curves.items(), COLOURS, strict=False):
        figure.add_trace(
            Scatter(
                x=curve["false_positive_rate"],
                y=curve["detection_rate"],
                name=kind,
                line={"color": colour, "shape": "hv"},
            )
        )
    figure.update_xaxes(title_text="false-positive rate", range=[-0.005, 0.1])
    figure.update_yaxes(title_text="detection rate")
    figure.update_layout(title="ROC by fault, all checks together (left end)", height=420)
    return figure


def _curve(curve: dict[str, list[float]]) -> Any:
    from plotly.graph_objects import Figure, Scatter  # noqa: PLC0415

    figure = Figure()
    names = [name for name in curve if name != "factor"]
    for name, colour in zip(names, COLOURS, strict=False):
        dash = "dot" if name == "false_positive_rate" else "solid"
        line = {"color": colour, "dash": dash}
        figure.add_trace(Scatter(x=curve["factor"], y=curve[name], name=name, line=line))
    figure.add_vline(x=1.0, line_dash="dash", annotation_text="shipped")
    figure.update_xaxes(title_text="factor on all thresholds", type="log")
    figure.update_yaxes(title_text="share of rows")
    figure.update_layout(title="Detection and false positives over the thresholds", height=420)
    return figure


def _by_size(curves: dict[str, dict[str, Any]]) -> Any:
    """One panel for each fault that has a size; error bars: 95 % intervals."""
    from plotly.subplots import make_subplots  # noqa: PLC0415

    titles = [f"{name}: {curve['size']}" for name, curve in curves.items()]
    figure = make_subplots(rows=1, cols=len(curves), subplot_titles=titles, shared_yaxes=True)
    for column, (curve, colour) in enumerate(zip(curves.values(), COLOURS, strict=False), 1):
        rates = curve["detection_rate"]
        spans = list(zip(rates, curve["interval"], strict=True))
        figure.add_scatter(
            x=curve["values"],
            y=rates,
            error_y={
                "array": [high - rate for rate, (_, high) in spans],
                "arrayminus": [rate - low for rate, (low, _) in spans],
            },
            line={"color": colour},
            showlegend=False,
            row=1,
            col=column,
        )
    figure.update_yaxes(title_text="detected", range=[-0.02, 1.02], col=1)
    figure.update_layout(title="Detection over the size of the fault", height=380)
    return figure


def _episode(scores: FloatArray, onset: int, names: Sequence[str]) -> Any:
    from plotly.graph_objects import Figure, Scatter  # noqa: PLC0415

    figure = Figure()
    for column, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        values = scores[:, column].tolist()
        figure.add_trace(Scatter(y=values, name=name, line={"color": colour}))
    figure.add_hline(y=1.0, line_dash="dash", annotation_text="threshold")
    figure.add_vline(x=onset, line_dash="dot", annotation_text="creeping bias begins")
    figure.update_xaxes(title_text="row")
    figure.update_yaxes(title_text="score over threshold", range=[0, 3])
    figure.update_layout(title="An episode that the calibration never saw", height=420)
    return figure


def _rows_table(content: dict[str, Any]) -> str:
    intervals = content["intervals"]
    rows = [
        (
            kind,
            _with(content["auc"][kind], intervals["auc"][kind]),
            _with(content["detection_rate"][kind], intervals["detection_rate"][kind]),
        )
        for kind in content["auc"]
    ]
    false = _with(content["false_positive_rate"], intervals["false_positive_rate"])
    counted = content["false_positives"]
    text = f"<p>False positives: {false}, {counted['alarms']} of {counted['of']} normal rows.</p>"
    return html_table(("fault", "ROC-AUC", "detected"), rows) + text


def _false_alarms(content: dict[str, Any]) -> str:
    lines = []
    for which, key in (
        ("not held by the gate", "sequence_false_positives"),
        ("that succeeded, held or not", "false_positives_of_all_successful"),
    ):
        found = content.get(key)
        if found is not None:
            rate = _with(found["rate"], found["interval"])
            lines.append(
                f"<p>Normal episodes {which}, with any alarm: {found['episodes_with_alarm']} of "
                f"{found['of']}, {rate}.</p>"
            )
    return "".join(lines)


def _sequence_table(content: dict[str, Any]) -> str:
    intervals = content["intervals"]["sequences"]
    rows = [
        (
            name,
            _with(row["detection_rate"], intervals[name]["detection_rate"]),
            "never" if row["delay_steps_p50"] is None else f"{row['delay_steps_p50']:g}",
            _with(row["false_positive_rate"], intervals[name]["false_positive_rate"]),
            ", ".join(f"{k} {v:.2f}" for k, v in row["by_detector"].items() if v),
        )
        for name, row in content["sequences"].items()
    ]
    head = ("fault", "detected", "median delay, rows", "false positives", "by detector")
    return html_table(head, rows)


def _with(value: float, interval: Sequence[float]) -> str:
    return f"{value:.4f} [{interval[0]:.4f}, {interval[1]:.4f}]"
