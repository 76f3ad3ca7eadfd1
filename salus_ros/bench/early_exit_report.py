"""The early-exit study as a page: FLOPs and latency against action error and task success."""

from __future__ import annotations

from pathlib import Path
from typing import Any

KINDS = {"soft": "soft", "hard": "hard", "single_layer": "single layer, hard", "fixed": "fixed"}


def write_report(file: Path, content: dict[str, Any]) -> None:
    """Write the HTML page. ModuleNotFoundError without plotly."""
    import plotly.graph_objects as go  # noqa: PLC0415 - only the report needs plotly
    from plotly.subplots import make_subplots  # noqa: PLC0415

    titles = ["action error against MLP FLOPs", "action error against latency"]
    if content["success"]:
        titles += ["task success against MLP FLOPs", "task success against latency"]
    rows = len(titles) // 2
    figure = make_subplots(rows=rows, cols=2, subplot_titles=titles)
    for number, kind in enumerate(KINDS):
        points = _points(content, kind)
        for column, x in ((1, "saving"), (2, "latency")):
            figure.add_trace(_errors(go, points, x, kind, number, column == 1), 1, column)
    if content["success"]:
        for column, x in ((1, "saving"), (2, "latency")):
            figure.add_trace(_success(go, content, x), 2, column)
            figure.update_yaxes(title_text="success, 95 %", range=[0, 1.02], row=2, col=column)
    for row in range(1, rows + 1):
        figure.update_xaxes(title_text="MLP FLOPs saved [%]", row=row, col=1)
        figure.update_xaxes(title_text="CPU time per chunk, median [ms]", row=row, col=2)
    epsilon = 100 * content["setting"]["epsilon"]
    for column in (1, 2):
        figure.add_hline(y=epsilon, line_dash="dot", row=1, col=column)
        figure.update_yaxes(title_text="relative action error [%]", row=1, col=column)
    figure.update_layout(height=450 * rows, width=1200, template="plotly_white")
    figure.write_html(file, include_plotlyjs=True)


def _points(content: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [
        {
            "name": name,
            "saving": 100 * row["saving"],
            "error": 100 * row["mean_error"],
            "latency": _milliseconds(content, name),
        }
        for name, row in content["errors"].items()
        if row["kind"] == kind
    ]
    return sorted(found, key=lambda point: point["saving"])


def _milliseconds(content: dict[str, Any], name: str) -> float | None:
    """Median CPU time of a chunk; None where it wasn't measured."""
    times = content["latency"].get(name)
    return 1e3 * times["cpu_p50"] if times else None


def _errors(
    go: Any, points: list[dict[str, Any]], x: str, kind: str, number: int, legend: bool
) -> Any:
    colour = ("#1f77b4", "#ff7f0e", "#d62728", "#7f7f7f")[number]
    return go.Scatter(
        x=[point[x] for point in points if point[x] is not None],
        y=[point["error"] for point in points if point[x] is not None],
        text=[point["name"] for point in points if point[x] is not None],
        mode="lines+markers",
        name=KINDS[kind],
        legendgroup=kind,
        showlegend=legend,
        line={"color": colour},
    )


def _success(go: Any, content: dict[str, Any], x: str) -> Any:
    names = list(content["success"])
    rates = [content["success"][n]["success_rate"] for n in names]
    intervals = [content["success"][n]["success_interval"] for n in names]
    saving = [100 * content["errors"][n]["saving"] if n != "off" else 0.0 for n in names]
    latency = [_milliseconds(content, n) for n in names]
    return go.Scatter(
        x=saving if x == "saving" else latency,
        y=rates,
        text=names,
        mode="markers+text",
        textposition="bottom center",
        showlegend=False,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [i[1] - r for i, r in zip(intervals, rates, strict=True)],
            "arrayminus": [r - i[0] for i, r in zip(intervals, rates, strict=True)],
        },
    )
