"""Writes config/foxglove_layout.json and config/rqt.perspective: `python docs/layouts.py`.

Both show the same: the mode, the signals, the failure probability, diagnostics, and calls of stop
and reset. A test checks that every field that they name is one of the messages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qt_state

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
# rqt's window, and its column beside the plots [pixels]; what a plot shows [s].
RQT_WIDTH, RQT_HEIGHT, RQT_TOOLS = 1840, 980, 760
SECONDS = 30.0


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
    manager = _group({"running-plugins": running}, _plugins())
    groups = {"mainwindow": _rqt_window(), "pluginmanager": manager}
    return json.dumps(_group({}, groups), indent=1) + "\n"


def _plugins() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, (title, (topic, fields)) in enumerate(PLOTS.items(), 1):
        settings = {
            "topics": [f"{topic}/{field}" for field in fields],
            "autoscroll": True,
            "x_limits": [0.0, SECONDS],
            "y_limits": [0.0, 1.0],  # grows with what comes
        }
        name = f"plugin__rqt_plot__Plot__{number}"
        found[name] = _plugin(settings, {"DataPlotWidget": title})
    for number, service in enumerate(CALLS, 1):
        # No title of its own: rqt selects another service where this one isn't there.
        name = f"plugin__rqt_service_caller__ServiceCaller__{number}"
        found[name] = _plugin({"current_service_name": service})
    found["plugin__rqt_reconfigure__Param__1"] = _plugin(
        {
            "selected_nodes": ["/safety_supervisor"],
            "splitter": qt_state.splitter([190, 590], qt_state.HORIZONTAL),
            "_splitter": qt_state.splitter([1000, 0], qt_state.VERTICAL),  # no room for its log
        },
        {"_plugincontainer_top_widget": "Parameters"},
    )
    found["plugin__rqt_graph__RosGraph__1"] = _plugin(
        {"topic_filter_line_edit_text": "/,-/salus/heartbeat"}, {"RosGraphUi": "Nodes"}
    )
    return found


def _plugin(settings: dict[str, Any], titles: dict[str, str] | None = None) -> dict[str, Any]:
    docks = {
        f"dock_widget__{widget}": _group({"dock_widget_title": title})
        for widget, title in (titles or {}).items()
    }
    return _group({}, {"plugin": _group(settings), **docks})


def _rqt_window() -> dict[str, Any]:
    """Two columns of plots; graph or parameters, diagnostics and calls on their right.

    The wide column is the last: rqt gives the first one whatever room a screen has more or less.
    """
    plots = [f"rqt_plot__Plot__{k}__DataPlotWidget" for k in range(1, len(PLOTS) + 1)]
    calls = [
        f"rqt_service_caller__ServiceCaller__{k}__ServiceCallerWidget"
        for k in range(1, len(CALLS) + 1)
    ]
    graph = "rqt_graph__RosGraph__1__RosGraphUi"
    parameters = "rqt_reconfigure__Param__1___plugincontainer_top_widget"
    diagnostics = "rqt_runtime_monitor__RuntimeMonitor__1__RuntimeMonitorWidget"
    tools = [(("tabs", [graph, parameters]), 430), (diagnostics, 250), (("tabs", calls), 290)]
    narrow = (RQT_WIDTH - RQT_TOOLS - 12) // 2
    columns: list[Any] = [
        ((qt_state.VERTICAL, [(plot, RQT_HEIGHT // 3) for plot in plots[k::2]]), narrow)
        for k in (0, 1)
    ]
    columns.append(((qt_state.VERTICAL, tools), RQT_TOOLS))
    layout = (qt_state.HORIZONTAL, columns)
    return _group(
        {
            "geometry": qt_state.geometry(30, 40, RQT_WIDTH, RQT_HEIGHT),
            "state": qt_state.window_state(layout, RQT_WIDTH, RQT_HEIGHT - 44),
        }
    )


def _group(keys: dict[str, Any], groups: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"keys": {name: _value(v) for name, v in keys.items()}, "groups": groups or {}}


def _value(value: Any) -> dict[str, str]:
    if not isinstance(value, bytes):
        return {"type": "repr", "repr": repr(value)}
    kind = "repr(QByteArray.hex)"
    return {"type": kind, kind: f"QtCore.QByteArray(b'{value.hex()}')"}


if __name__ == "__main__":
    FOXGLOVE.write_text(foxglove_layout())
    RQT.write_text(rqt_perspective())
