"""Parameters of the safety gate, validated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from salus_ros.interfaces import NANOSECONDS
from salus_ros.supervision.errors import LimitsError

# Range of each number, both ends allowed.
RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "rate": (10.0, 1000.0),
        "operating_fraction": (0.01, 1.0),
        "observation_age": (0.01, 10.0),
        "future_stamp": (0.0, 1.0),
        "start_ahead": (0.0, 10.0),
        "joint_state_age_hold": (0.002, 1.0),
        "joint_state_age_stop": (0.002, 5.0),
        "tracking_error": (0.001, 1.0),
        "rest_velocity": (0.001, 0.5),
        "deviation_bound": (0.0001, 1.0),
        "limited_clear_time": (0.0, 10.0),
        "gripper_lag": (0.0001, 1.0),
        "resume_delay": (0.0, 60.0),
        "settle_time": (0.0, 10.0),
        "hard_faults_to_stop": (1, 100),
        "hard_fault_window": (0.1, 60.0),
        "excess_allowed": (1.0, 10.0),
        "tool_speed": (0.01, 2.0),
        "slow_probability": (0.0, 1.0),
        "retry_probability": (0.0, 1.0),
        "collision_probability": (0.0, 1.0),
        "slow_factor": (0.1, 1.0),
        "retries_max": (0, 100),
        "retry_gap": (0.0, 60.0),
        "enable_age": (0.02, 5.0),
        "robot_age": (0.02, 5.0),
        "velocity_span": (0.0, 1.0),
        "curvature_span": (0.0, 1.0),
        "jump_bound": (0.001, 10.0),
        "clock_jump": (0.005, 10.0),
        "clock_lag": (0.02, 10.0),
        "rows_max": (1, 100_000),
        "interventions_max": (10, 1_000_000),
    }
)


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Parameters of the gate; times in s, angles in rad, widths in m. LimitsError out of range.

    rate: ticks a second.
    operating_fraction: share of the robot's velocity, acceleration and jerk that is used.
    observation_age: a chunk whose observation is older is dropped, a plan no longer followed.
    future_stamp: how far a stamp may lie in the future.
    start_ahead: how far a chunk's first row may lie in the future.
    joint_state_age_hold, joint_state_age_stop: HOLD, STOP.
    tracking_error: largest distance of a measured joint from the command; beyond: STOP.
    rest_velocity: measured joints slower than this [rad/s] stand still.
    deviation_bound: LIMITED where the command is farther from the plan; ends below half of it.
    limited_clear_time: for so long, before LIMITED ends.
    gripper_lag: LIMITED where the gripper's command is farther from the plan.
    resume_delay: HOLD ends when its causes are gone for so long ...
    settle_time: ... and a chunk observed so long after the command came to rest has arrived.
    hard_faults_to_stop, hard_fault_window: so many hard faults in so many seconds are a STOP.
    excess_allowed: a plan may exceed the robot's limits by this factor; beyond: a hard fault.
    tool_speed: largest speed of the tool point [m/s], where there is a workspace.
    slow_probability: a failure at least so likely at the longest horizon: SLOW.
    retry_probability: ... at a middle horizon: HOLD and a request to retry.
    collision_probability: a collision at least so likely at the shortest: STOP.
    slow_factor: share of the velocity limits in SLOW.
    retries_max, retry_gap: requests to retry in an episode, and seconds between two.
    require_enable, enable_age: HOLD without an enable switch's `True` as fresh as this.
    require_robot, robot_age: STOP without a robot's word, as fresh as this, that it follows.
    velocity_span, curvature_span: divided differences of a plan are taken over at least so long
        (see `chunk_checks`).
    jump_bound: a chunk whose plan is farther from the commanded state is a hard fault.
    clock_jump: a step of the ROS clock against the steady one that counts as a jump.
    clock_lag: HOLD where late ticks put the commands so far behind the plan.
    rows_max: rows of a chunk.
    interventions_max: interventions kept until they are drained.
    heartbeats: external parties whose heartbeat is required, with the largest age [s].
    """

    rate: float = 100.0
    operating_fraction: float = 0.5
    observation_age: float = 0.5
    future_stamp: float = 0.05
    start_ahead: float = 0.5
    joint_state_age_hold: float = 0.05
    joint_state_age_stop: float = 0.2
    tracking_error: float = 0.1
    rest_velocity: float = 0.05
    deviation_bound: float = 0.01
    limited_clear_time: float = 0.2
    gripper_lag: float = 0.01
    resume_delay: float = 0.5
    settle_time: float = 0.1
    hard_faults_to_stop: int = 3
    hard_fault_window: float = 2.0
    excess_allowed: float = 2.0
    tool_speed: float = 0.25
    slow_probability: float = 0.6
    retry_probability: float = 0.7
    collision_probability: float = 0.9
    slow_factor: float = 0.5
    retries_max: int = 2
    retry_gap: float = 1.0
    require_enable: bool = False
    enable_age: float = 0.2
    require_robot: bool = False
    robot_age: float = 0.25
    velocity_span: float = 1 / 30
    curvature_span: float = 0.1
    jump_bound: float = 0.5
    clock_jump: float = 0.05
    clock_lag: float = 0.25
    rows_max: int = 1000
    interventions_max: int = 1000
    heartbeats: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            _in_range(name, getattr(self, name), low, high)
        for name, age in self.heartbeats.items():
            _in_range(f"heartbeats[{name}]", age, 0.01, 60.0)
        if self.joint_state_age_hold > self.joint_state_age_stop:
            raise LimitsError(
                f"joint_state_age_hold {self.joint_state_age_hold:g} s is above "
                f"joint_state_age_stop {self.joint_state_age_stop:g} s: lower it"
            )

    @property
    def period(self) -> int:
        """One tick [ns]."""
        return round(NANOSECONDS / self.rate)


def _in_range(name: str, value: object, low: float, high: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type, operator]
        raise LimitsError(f"{name} is {value!r}: give a number from {low:g} to {high:g}")
