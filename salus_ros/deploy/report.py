"""The compiler's page: the frontier as a plot to hover over, and everything as tables."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from salus_ros.deploy.axes import AXES
from salus_ros.deploy.levers import Levers
from salus_ros.reporting import html_figures, html_table

STYLE = "body{font-family:sans-serif;margin:2em}td,th{padding:.2em .6em;text-align:left}"
COLUMNS = ("latency_p50", "latency_p99", "weights_mb", "peak_memory_mb", "rmse", "staleness", "age")


def name_of(entry: Mapping[str, Any]) -> str:
    """A configuration's levers as text."""
    levers = Levers(**entry["levers"])
    return f"{levers}, horizon {levers.execution_horizon}"


def cell(entry: Mapping[str, Any], axis: str) -> str:
    """An axis' value, with its interval where it has one."""
    value = entry["axes"][axis]
    if not isinstance(value, int | float):
        return str(value)
    interval = entry["intervals"].get(axis)
    text = f"{value:.4g}"
    return f"{text} ({interval[0]:.4g} to {interval[1]:.4g})" if interval else text


def write_report(file: Path, content: Mapping[str, Any]) -> None:
    """Raises ImportError without plotly, OSError where the file can't be written."""
    found = content["configurations"]
    frontier = [found[i] for i in content["frontier"]]
    hardware = content["hardware"]
    parts = [
        "<!doctype html><meta charset='utf-8'><title>salus compile</title>",
        f"<style>{STYLE}</style>",
        f"<h1>{escape(content['policy'])}</h1>",
        f"<p>{escape(hardware['cpu'])}, {hardware['cores']} cores, GPU: "
        f"{escape(str(hardware['gpu'] or 'none'))}; {escape(hardware['system'])}; commit "
        f"{escape(content['commit'])}. Latencies are of this machine's {content['device']}.</p>",
        *html_figures([_plot(content)]),
        "<h2>Picks</h2>",
        html_table(["budget", "configuration"], [_pick(p, found) for p in content["picks"]]),
        "<h2>Frontier</h2>",
        html_table(["configuration", *map(_head, COLUMNS)], [_row(e) for e in frontier]),
        "<h2>Left out</h2>",
        html_table(
            ["what", "why"],
            [[name_of(e), e["left_out"]] for e in found if e["left_out"]]
            + [[name, why] for name, why in content["levers_left_out"].items()],
        ),
    ]
    file.write_text("\n".join(parts))


def _head(axis: str) -> str:
    unit = AXES[axis].unit
    return f"{axis} [{unit}]" if unit else axis


def _row(entry: Mapping[str, Any]) -> list[str]:
    return [name_of(entry), *(cell(entry, axis) for axis in COLUMNS)]


def _pick(pick: Mapping[str, Any], found: list[dict[str, Any]]) -> list[str]:
    if pick["best"] is None:
        return [pick["name"], f"none: {binding_text(pick['binding'], found)}"]
    return [pick["name"], name_of(found[pick["best"]])]


def binding_text(binding: Mapping[str, Any], found: list[dict[str, Any]]) -> str:
    """Which limit binds, by how much, and the nearest configuration."""
    if binding["nearest"] is None:
        return f"{binding['axis']} is unknown on this machine"
    unit, nearest = AXES[binding["axis"]].unit, name_of(found[binding["nearest"]])
    if "by" not in binding:
        return f"{binding['axis']} is {binding['value']} on this machine, so that no limit can hold"
    text = (
        f"{binding['axis']} {binding['value']:.4g} misses the limit {binding['limit']:g} by "
        f"{binding['by']:.4g} {unit}"
    )
    return f"{text.strip()}, the nearest configuration: {nearest}"


def _hover(entry: Mapping[str, Any]) -> str:
    return "<br>".join([name_of(entry), *(f"{axis}: {cell(entry, axis)}" for axis in AXES)])


def _plot(content: Mapping[str, Any]) -> Any:
    import plotly.graph_objects as go  # noqa: PLC0415 - only a report needs plotly

    found, edge = content["configurations"], set(content["frontier"])
    figure = go.Figure()
    measured = [i for i, e in enumerate(found) if not e["left_out"]]
    best = {p["best"] for p in content["picks"]}
    groups = {
        "dominated": [i for i in measured if i not in edge],
        "frontier": [i for i in measured if i in edge],
        "picks": [i for i in measured if i in best],
    }
    for (name, rows), symbol in zip(groups.items(), ("circle-open", "circle", "star"), strict=True):
        entries = [found[i] for i in rows]
        figure.add_scatter(
            x=[e["axes"]["action_latency_p50"] for e in entries],
            y=[e["axes"]["rmse"] for e in entries],
            mode="markers",
            name=name,
            marker={
                "symbol": symbol,
                "size": 16 if name == "picks" else 10,
                "color": [e["axes"]["weights_mb"] for e in entries],
                "coloraxis": "coloraxis",
            },
            text=[_hover(e) for e in entries],
            hoverinfo="text",
        )
    figure.update_layout(
        xaxis={"title": "latency of an action, p50 [ms]", "type": "log"},
        yaxis={"title": "relative RMSE of actions"},
        coloraxis={"colorbar": {"title": "weights [MB]"}, "colorscale": "Viridis"},
        legend={"orientation": "h"},
        height=600,
    )
    return figure
