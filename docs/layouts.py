"""Writes config/foxglove_layout.json and config/rqt.perspective: `python docs/layouts.py`.

Both show the same: the mode, the signals, the failure probability, diagnostics, and calls of stop
and reset. A test checks that every field that they name is one of the messages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from salus_ros.nodes import topics
from salus_ros.signals.layout import SIGNAL_NAMES

CONFIG = Path(__file__).resolve().parents[1] / "config"
FOXGLOVE = CONFIG / "foxglove_layout.json"
RQT = CONFIG / "rqt.perspective"

# Fields of one plot each; a topic and its fields.
PLOTS: dict[str, tuple[str, Sequence[str]]] = {
    "Signals of the actions": (topics.SIGNALS, SIGNAL_NAMES[:4]),
    "Signals of the policy": (topics.SIGNALS, SIGNAL_NAMES[4:9]),
    "Signals of the execution": (topics.SIGNALS, SIGNAL_NAMES[9:]),
    "Failure": (
        topics.FAILURE_PREDICTION,
        ("episode_failure_probability", "episode_score", "alarm_threshold", "probabilities[0]"),
    ),
    "Supervisor": (
        topics.SUPERVISOR_STATE,
        ("mode", "plan_deviation", "tracking_error", "observation_age"),
    ),
    "Commands": (topics.JOINT_COMMANDS, tuple(f"position[{k}]" for k in range(7))),
}
CALLS = (topics.STOP, topics.RESET)


def foxglove_layout() -> str:
    """Foxglove's layout file."""
    panels: dict[str, Any] = {
        f"Plot!plot{number}": {
            "title": title,
            "paths": [
                {"value": f"{topic}.{field}", "enabled": True, "timestampMethod": "receiveTime"}
                for field in fields
            ],
            "showLegend": True,
            "legendDisplay": "left",
            "followingViewWidth": 30,
            "isSynced": True,
            "xAxisVal": "timestamp",
        }
        for number, (title, (topic, fields)) in enumerate(PLOTS.items())
    }
    for name in CALLS:
        panels[f"CallService!{name.rpartition('/')[2]}"] = {
            "serviceName": name,
            "requestPayload": "{}",
            "layout": "vertical",
            "buttonText": name,
        }
    panels["RawMessages!state"] = {"topicPath": topics.SUPERVISOR_STATE}
    panels["RawMessages!interventions"] = {"topicPath": topics.INTERVENTIONS}
    panels["DiagnosticSummary!all"] = {"topicToRender": topics.DIAGNOSTICS, "minLevel": 0}
    content = {
        "configById": panels,
        "globalVariables": {},
        "userNodes": {},
        "playbackConfig": {"speed": 1},
        "layout": _split("row", [_split("column", half) for half in _halves(list(panels))]),
    }
    return json.dumps(content, indent=1) + "\n"


def _halves(names: list[str]) -> tuple[list[Any], list[Any]]:
    plots = sum(name.startswith("Plot!") for name in names)
    return names[:plots], names[plots:]


def _split(direction: str, parts: list[Any]) -> Any:
    """Foxglove splits in two, again and again."""
    if len(parts) == 1:
        return parts[0]
    rest = _split(direction, parts[1:])
    share = 100.0 / len(parts)
    return {"direction": direction, "first": parts[0], "second": rest, "splitPercentage": share}


def rqt_perspective() -> str:
    """rqt's perspective: values are Python's, as text."""
    running: dict[str, list[int]] = {
        "rqt_graph/RosGraph": [1],
        "rqt_reconfigure/Param": [1],
        "rqt_runtime_monitor/RuntimeMonitor": [1],
        "rqt_plot/Plot": list(range(1, len(PLOTS) + 1)),
        "rqt_service_caller/ServiceCaller": list(range(1, len(CALLS) + 1)),
    }
    groups: dict[str, Any] = {}
    for number, (topic, fields) in enumerate(PLOTS.values(), 1):
        settings = {"topics": [f"{topic}/{field}" for field in fields], "autoscroll": True}
        groups[f"plugin__rqt_plot__Plot__{number}"] = _group({}, {"plugin": _group(settings)})
    for number, name in enumerate(CALLS, 1):
        settings = {"current_service_name": name}
        group = _group({}, {"plugin": _group(settings)})
        groups[f"plugin__rqt_service_caller__ServiceCaller__{number}"] = group
    manager = _group({"running-plugins": running}, groups)
    return json.dumps(_group({}, {"pluginmanager": manager}), indent=1) + "\n"


def _group(keys: dict[str, Any], groups: dict[str, Any] | None = None) -> dict[str, Any]:
    shown = {name: {"type": "repr", "repr": repr(value)} for name, value in keys.items()}
    return {"keys": shown, "groups": groups or {}}


if __name__ == "__main__":
    FOXGLOVE.write_text(foxglove_layout())
    RQT.write_text(rqt_perspective())
