"""Whether the topics of a rig are as its parameter file wants them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salus_ros.cli.findings import ERROR, OK, WARNING, Finding
from salus_ros.interface_table import BRIDGE, MANAGER, POLICY, PREDICTOR, SIGNALS, SUPERVISOR
from salus_ros.nodes import topics
from salus_ros.nodes.camera_topics import chosen_topics
from salus_ros.resources import file_parameter

if TYPE_CHECKING:
    from salus_ros.nodes.rig_watch import RigReport, Stream

# Joint states should come so many times within the age that is a HOLD.
WITHIN_AGE = 2.5
# A stamp this far in the future [s], or a heartbeat this old, is a clock that is off.
AHEAD, BEHIND = 0.005, 0.1
IMAGE_AGE = 0.25
NODES = (BRIDGE, SUPERVISOR, MANAGER, POLICY, SIGNALS, PREDICTOR)


class RigSettings:
    """What a parameter file says of the rig; the supervisor's defaults where it says nothing."""

    def __init__(self, config: Path, cameras: str) -> None:
        """cameras: as the parameter camera_topics, over the file's; names without a topic count.

        Raises ValueError, one line.
        """

        def value(node: str, name: str, default: Any) -> Any:
            found = file_parameter(config, node, name)
            return default if found is None else found

        self.joint_names: Sequence[str] = value(SUPERVISOR, "joint_names", ())
        self.gripper_name: str = value(SUPERVISOR, "gripper_name", "")
        self.age_hold: float = value(SUPERVISOR, "joint_state_age_hold", 0.05)
        self.require_robot: bool = value(SUPERVISOR, "require_robot", False)
        self.output: str = value(SUPERVISOR, "output", "joint_state")
        self.command_topic: str = value(SUPERVISOR, "command_topic", "") or topics.JOINT_COMMANDS
        self.cameras = _cameras(cameras or value(POLICY, "camera_topics", ""))


def _cameras(text: str) -> dict[str, str]:
    """Topic by camera, also of those given by name alone."""
    named = [part.strip() for part in text.split(",") if part.strip() and "=" not in part]
    given = ",".join(part for part in text.split(",") if "=" in part)
    names = {part.partition("=")[0].strip() for part in given.split(",")}
    usual = {name: topics.CAMERA.format(camera=name) for name in named}
    return usual | chosen_topics(given, names)


def rig_findings(report: RigReport, settings: RigSettings) -> list[Finding]:
    """All checks."""
    return [
        _nodes(report),
        _clocks(report),
        _joint_names(report.joints, settings),
        _joint_rate(report.joints, settings),
        *(_camera(name, stream) for name, stream in report.cameras.items()),
        *([_robot(report)] if settings.require_robot else []),
        _commanders(report),
        _controller(report, settings),
    ]


def _nodes(report: RigReport) -> Finding:
    missing = [name for name in NODES if name not in report.heartbeats]
    if not missing:
        return Finding("nodes", OK, "all beat")
    remedy = "start them on their machines; two machines: same ROS_DOMAIN_ID, ROS_STATIC_PEERS"
    level = ERROR if len(missing) == len(NODES) else WARNING
    return Finding("nodes", level, f"not heard: {', '.join(missing)}", remedy)


def _clocks(report: RigReport) -> Finding:
    """A heartbeat is stamped as it is sent: what it seems to take is the clocks' difference."""
    ages = {name: stream.age for name, stream in report.heartbeats.items()}
    if not ages:
        return Finding("clocks between machines", WARNING, "no node is heard", "start the nodes")
    off = [f"{n} {1e3 * age:+.1f} ms" for n, age in ages.items() if not -AHEAD <= age <= BEHIND]
    if off:
        remedy = "synchronise the clocks of both machines: chrony (docs/deployment.md)"
        return Finding("clocks between machines", ERROR, ", ".join(off), remedy)
    worst = max(abs(age) for age in ages.values())
    return Finding("clocks between machines", OK, f"within {1e3 * worst:.1f} ms")


def _joint_names(joints: Stream, settings: RigSettings) -> Finding:
    check = "joint names"
    if not joints.arrivals:
        remedy = "start the robot's driver and franka_bridge; look at robot_namespace"
        return Finding(check, ERROR, f"nothing on {topics.JOINT_STATES}", remedy)
    if joints.publishers > 1:
        remedy = "start the driver in a namespace, so that its own joint states are another topic"
        return Finding(check, ERROR, f"{joints.publishers} publishers", remedy)
    wanted = [*settings.joint_names, *([settings.gripper_name] if settings.gripper_name else [])]
    missing = [name for name in wanted if name not in joints.names]
    if missing:
        remedy = f"set joint_names and gripper_name: there are {', '.join(joints.names)}"
        return Finding(check, ERROR, f"lacks {', '.join(missing)}", remedy)
    return Finding(check, OK, f"{len(wanted)} as configured")


def _joint_rate(joints: Stream, settings: RigSettings) -> Finding:
    detail = (
        f"{joints.rate:.0f} Hz, longest gap {1e3 * joints.longest_gap:.1f} ms, "
        f"age {1e3 * joints.age:.1f} ms"
    )
    wanted = WITHIN_AGE / settings.age_hold
    late = joints.longest_gap > settings.age_hold or joints.age > settings.age_hold
    if joints.rate < wanted or late:
        remedy = f"at least {wanted:.0f} Hz without gaps above {1e3 * settings.age_hold:.0f} ms"
        return Finding("joint states", ERROR, detail, remedy)
    return Finding("joint states", OK, detail)


def _camera(name: str, stream: Stream) -> Finding:
    check = f"camera {name}"
    if not stream.arrivals:
        what = "no publisher" if not stream.publishers else "no image came through"
        remedy = "start its driver; camera_topics; network buffers where images come over a network"
        return Finding(check, ERROR, what, remedy)
    detail = f"{stream.rate:.0f} Hz, age {1e3 * stream.age:.0f} ms"
    if stream.age > IMAGE_AGE:
        return Finding(check, WARNING, detail, "a smaller image, or a camera at the GPU machine")
    return Finding(check, OK, detail)


def _robot(report: RigReport) -> Finding:
    if report.robot is None:
        return Finding("robot", ERROR, f"nothing on {topics.ROBOT_MODE}", "start franka_bridge")
    if not report.robot.ready:
        return Finding("robot", ERROR, report.robot.text, "see docs/deployment.md, when it stops")
    return Finding("robot", OK, "follows commands")


def _commanders(report: RigReport) -> Finding:
    others = [name for name in report.commanders if name != SUPERVISOR]
    if others or len(report.commanders) > 1:
        names = ", ".join(report.commanders)
        return Finding("commands", ERROR, f"published by {names}", "end all but the supervisor")
    return Finding("commands", OK, "the supervisor alone" if report.commanders else "nobody yet")


def _controller(report: RigReport, settings: RigSettings) -> Finding:
    what = f"{settings.output} on {settings.command_topic}"
    if report.controllers:
        return Finding("controller", OK, what)
    remedy = "activate the robot's controller: ros2 run controller_manager spawner ..."
    return Finding("controller", ERROR, f"nobody listens to {what}", remedy)
