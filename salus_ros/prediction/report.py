"""The predictor's evaluation as one HTML page with plots; needs plotly, no network."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from salus_ros.reporting import html_figures, html_table, interval_text

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
_GREY = "#999999"
_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Failure predictor</title>
<style>body{font-family:sans-serif;max-width:1100px;margin:2em auto}
td,th{padding:.15em .8em;text-align:right}td:first-child{text-align:left}</style></head><body>
<h1>Failure predictor: what it tells before a failure begins</h1>
<p>Episodes that neither model nor baselines have seen; only steps before the onset of a failure
count. Brackets: 95 % intervals, episodes drawn anew.</p>"""


def write_report(file: Path, content: dict[str, Any]) -> None:
    """Write the page. ImportError where plotly is missing, OSError if it can't be written."""
    figures = [
        _methods(content, "episode_auc", "ROC-AUC of episodes, model and baselines"),
        _methods(content, "matched_auc", "The same among episodes of matched elapsed time"),
        _horizons(content["model"]),
        _calibration(content["calibration"]),
    ]
    parts = [_HEAD, _summary(content)]
    parts += [
        *html_figures(figures),
        _alarms(content),
        _within(content["model"]),
        _studies(content),
    ]
    file.write_text("\n".join([*parts, "</body></html>"]), encoding="utf-8")


def _available(content: dict[str, Any]) -> dict[str, Any]:
    methods = {"the model": content["model"], **content["baselines"]}
    return {name: found for name, found in methods.items() if "not_available" not in found}


def _methods(content: dict[str, Any], what: str, title: str) -> Any:
    from plotly.graph_objects import Figure, Scatter  # noqa: PLC0415

    figure, methods = Figure(), _available(content)
    for group, colour in zip(("seen", "unseen"), COLOURS, strict=False):
        rows = [
            (name, found[group][what])
            for name, found in methods.items()
            if group in found and found[group][what]["value"] is not None
        ]
        values = [told["value"] for _, told in rows]
        error = {
            "type": "data",
            "symmetric": False,
            "array": [told["high"] - told["value"] for _, told in rows],
            "arrayminus": [told["value"] - told["low"] for _, told in rows],
        }
        figure.add_trace(
            Scatter(
                x=values,
                y=[name for name, _ in rows],
                error_x=error,
                mode="markers",
                name=f"{group} disturbances",
                marker={"color": colour, "size": 9},
            )
        )
    figure.add_vline(x=0.5, line_dash="dot", annotation_text="chance")
    figure.update_xaxes(title_text="ROC-AUC", range=[0, 1.02])
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(title=title, height=200 + 26 * len(methods), margin={"l": 240})
    return figure


def _horizons(model: dict[str, Any]) -> Any:
    from plotly.graph_objects import Figure, Scatter  # noqa: PLC0415

    figure = Figure()
    for (group, found), colour in zip(model.items(), COLOURS, strict=False):
        for what, dash in (("horizon_auc", "solid"), ("horizon_average_precision", "dot")):
            told = {float(h): e["value"] for h, e in found[what].items()}
            figure.add_trace(
                Scatter(
                    x=list(told),
                    y=list(told.values()),
                    name=f"{what.removeprefix('horizon_').replace('_', ' ')}, {group}",
                    line={"color": colour, "dash": dash},
                )
            )
    figure.update_xaxes(title_text="horizon [s]")
    figure.update_yaxes(title_text="of steps", range=[0, 1.02])
    figure.update_layout(title="A failure begins within the horizon", height=420)
    return figure


def _calibration(curves: dict[str, Any]) -> Any:
    from plotly.graph_objects import Figure, Scatter  # noqa: PLC0415

    figure = Figure()
    straight = {"color": _GREY, "dash": "dot"}
    figure.add_trace(Scatter(x=[0, 1], y=[0, 1], name="as it should be", line=straight))
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        figure.add_trace(
            Scatter(
                x=curve["predicted"],
                y=curve["observed"],
                name=f"{name}{'' if name == 'episode' else ' s'}, gap {curve['error']:.3f}",
                line={"color": colour},
                mode="lines+markers",
            )
        )
    figure.update_xaxes(title_text="predicted probability")
    figure.update_yaxes(title_text="observed share of steps")
    figure.update_layout(title="Calibration, seen disturbances", height=480)
    return figure


def _summary(content: dict[str, Any]) -> str:
    rows = []
    for name, told in content["episodes"].items():
        if name != "left_out":
            kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(told["failures"].items()))
            rows.append((name, str(told["episodes"]), kinds or "none"))
    decision = content.get("decision") or {}
    text = escape(str(decision.get("reason", "")))
    return f"<h2>Episodes</h2>{html_table(('split', 'episodes', 'failures'), rows)}<p>{text}</p>"


def _alarms(content: dict[str, Any]) -> str:
    head = (
        "alarm at the conformal band",
        "recall",
        "false alarms",
        "precision",
        "median lead, all failures [s]",
        "time-weighted accuracy",
        "binomial p",
    )
    rows = []
    for name, found in _available(content).items():
        for group, figures in found.items():
            alarm = figures["alarm"]
            weighted = alarm["time_weighted_accuracy"]
            rows.append(
                (
                    f"{name}, {group}",
                    interval_text(alarm["recall"]),
                    interval_text(alarm["false_alarm_rate"]),
                    interval_text(alarm["precision"]),
                    interval_text(alarm["lead_time_p50"]),
                    "" if weighted is None else f"{weighted:.3f}",
                    f"{alarm['coverage']['p_value']:.3f}",
                )
            )
    missing = [
        f"<li>{escape(name)}: {escape(found['not_available'])}</li>"
        for name, found in content["baselines"].items()
        if "not_available" in found
    ]
    lost = f"<p>Not available:</p><ul>{''.join(missing)}</ul>" if missing else ""
    return f"<h2>Alarm</h2>{html_table(head, rows)}{lost}"


def _within(model: dict[str, Any]) -> str:
    rows = [
        (
            f"{name}, {group}",
            f"{told['episodes']}",
            f"{told['failures']}",
            interval_text(told["auc"]),
            interval_text(told["matched_auc"]),
        )
        for group, found in model.items()
        for name, told in found["within_disturbances"].items()
    ]
    head = ("disturbance", "episodes", "failures", "ROC-AUC", "matched in time")
    return f"<h2>Within single disturbances</h2>{html_table(head, rows)}"


def _studies(content: dict[str, Any]) -> str:
    if "ablation" not in content:
        return ""
    rows = [
        (name, *(_number(found.get(group)) for group in ("seen", "unseen")))
        for name, found in content["ablation"].items()
    ]
    few = content["few_episodes"]
    rows += [
        (f"{few['episodes']} episodes, run {i}", *(_number(run.get(g)) for g in ("seen", "unseen")))
        for i, run in enumerate(few["runs"], start=1)
    ]
    head = ("trained on", "ROC-AUC, seen", "ROC-AUC, unseen")
    return f"<h2>Trained again</h2>{html_table(head, rows)}"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
