"""Types of franka_msgs, which comes with franka_ros2: looked for only where they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from salus_ros.nodes.parameters import ParameterError


def franka_type(kind: str, name: str) -> Any:
    """A type of franka_msgs; kind: msg or action. Raises ParameterError, one line."""
    try:
        return getattr(import_module(f"franka_msgs.{kind}"), name)
    except ModuleNotFoundError as error:
        raise ParameterError(
            "franka_msgs is missing: source the workspace that holds franka_ros2, or set "
            "watch_robot to false and gripper_actions to false"
        ) from error
    except AttributeError as error:
        raise ParameterError(
            f"franka_msgs has no {kind} {name}: its version is not one for ROS 2 that is known here"
        ) from error
