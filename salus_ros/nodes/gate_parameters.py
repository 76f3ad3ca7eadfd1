"""The gate's parameters as ROS parameters: type and default from GateConfig, range from RANGES."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from salus_ros.nodes.base_node import NodeBasics
from salus_ros.nodes.parameters import Parameter
from salus_ros.resources import config_file
from salus_ros.supervision.config import RANGES, GateConfig
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.reconfiguration import TUNABLE
from salus_ros.supervision.workspace import load_workspace

DESCRIPTIONS = {
    "rate": "Commands per second [Hz].",
    "operating_fraction": "Share of the robot's velocity, acceleration and jerk that is used.",
    "observation_age": "A chunk whose observation is older is dropped, a plan not followed [s].",
    "future_stamp": "How far a stamp may lie in the future [s].",
    "start_ahead": "How far a chunk's first row may lie in the future [s].",
    "joint_state_age_hold": "Age of the joint state that puts the arm into HOLD [s].",
    "joint_state_age_stop": "Age of the joint state that puts the arm into STOP [s].",
    "tracking_error": "Distance of a measured joint from the command that is a STOP [rad].",
    "rest_velocity": "Measured joints slower than this stand still [rad/s].",
    "deviation_bound": "Distance of the command from the plan that is LIMITED [rad].",
    "limited_clear_time": "How long the deviation must be small before LIMITED ends [s].",
    "gripper_lag": "Distance of the gripper's command from the plan that is LIMITED [m].",
    "resume_delay": "HOLD ends when its causes are gone for so long [s] ...",
    "settle_time": "... and a chunk observed so long after the command came to rest is there [s].",
    "hard_faults_to_stop": "So many hard faults ...",
    "hard_fault_window": "... in so many seconds are a STOP [s].",
    "excess_allowed": "A plan may exceed the robot's limits by this factor; beyond: hard fault.",
    "tool_speed": "Largest speed of the tool point, where there is a workspace [m/s].",
    "slow_probability": "SLOW where a failure is at least so likely at the longest horizon.",
    "retry_probability": "HOLD and a retry where it is so likely at a middle horizon.",
    "collision_probability": "STOP where a collision is so likely at the shortest horizon.",
    "slow_factor": "Share of the velocity limits in SLOW.",
    "retries_max": "Requests to retry in an episode, before a human is asked for.",
    "retry_gap": "Time between two requests to retry [s].",
    "enable_age": "Largest age of a required enable switch's message [s].",
    "robot_age": "Largest age of a required robot's mode [s].",
    "velocity_span": "A plan's velocity is judged over at least so long [s].",
    "curvature_span": "A plan's acceleration and jerk are judged over at least so long [s].",
    "jump_bound": "A plan farther from the commanded state is a hard fault [rad].",
    "clock_jump": "A step of the ROS clock against the steady one that counts as a jump [s].",
    "clock_lag": "HOLD where late ticks put the commands so far behind the plan [s].",
    "rows_max": "Most rows that a chunk may have.",
    "interventions_max": "Interventions kept until they are published.",
}


def _as(default: object, bound: float) -> float:
    """A range's end in the type of the parameter: ROS keeps integers and floats apart."""
    return int(bound) if isinstance(default, int) else bound


GATE_PARAMETERS = tuple(
    Parameter(
        field.name,
        field.default,
        DESCRIPTIONS[field.name],
        minimum=_as(field.default, RANGES[field.name][0]),
        maximum=_as(field.default, RANGES[field.name][1]),
        tunable=field.name in TUNABLE,
    )
    for field in fields(GateConfig)
    if field.name in RANGES
)


REQUIRE_ENABLE = Parameter("require_enable", False, "HOLD without a fresh True on /salus/enable.")
REQUIRE_ROBOT = Parameter(
    "require_robot",
    False,
    "STOP unless the robot says on /salus/robot_mode that it follows commands: a reflex is one, "
    "and any mode but `move`. In such a mode the command follows the measured arm.",
)
WORKSPACE = Parameter(
    "workspace",
    "panda_workspace.yaml",
    "Workspace of a Panda or FR3: a path, or a file in config/; empty: it isn't looked at.",
)


def with_workspace(node: NodeBasics, limits: RobotLimits) -> RobotLimits:
    """Limits with the workspace that the node's parameter names.

    Raises LimitsError or FileNotFoundError, in one line.
    """
    name = node.parameter(WORKSPACE.name)
    if not name:
        return limits
    path = Path(name) if Path(name).is_file() else config_file(name)
    return replace(limits, workspace=load_workspace(path, len(limits.arm.names)))


def gate_config(node: NodeBasics, heartbeats: dict[str, float]) -> GateConfig:
    """The configuration that the node's parameters describe. Raises LimitsError."""
    values: dict[str, Any] = {
        p.name: node.parameter(p.name) for p in (*GATE_PARAMETERS, REQUIRE_ENABLE, REQUIRE_ROBOT)
    }
    return GateConfig(**values, heartbeats=heartbeats)
