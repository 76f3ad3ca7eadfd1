"""Changes of the gate's parameters while it runs: which there are, and what refuses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from salus_ros.interfaces import Instant
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.errors import LimitsError
from salus_ros.supervision.measurement import Measurement

TUNABLE = frozenset(
    {
        "operating_fraction",
        "tool_speed",
        "observation_age",
        "future_stamp",
        "start_ahead",
        "joint_state_age_hold",
        "joint_state_age_stop",
        "tracking_error",
        "deviation_bound",
        "gripper_lag",
        "excess_allowed",
        "jump_bound",
        "resume_delay",
        "settle_time",
        "slow_probability",
        "retry_probability",
        "collision_probability",
        "slow_factor",
        "retries_max",
        "retry_gap",
        "enable_age",
        "robot_age",
    }
)


def changed(config: GateConfig, changes: Mapping[str, Any]) -> GateConfig:
    """The configuration with changes; LimitsError, one line, where one isn't possible."""
    fixed = sorted(set(changes) - TUNABLE)
    if fixed:
        raise LimitsError(f"{fixed[0]} can't change while the gate runs: configure it anew")
    return replace(config, **changes)


def at_odds(
    config: GateConfig, measurement: Measurement, commanded: list[float], now: Instant
) -> str:
    """Why the present measurement can't be judged by a new configuration; empty: it can."""
    error = measurement.distance(commanded)
    if error > config.tracking_error:
        return (
            f"tracking_error {config.tracking_error:g} rad: the arm is {error:.3g} rad from the "
            "command already"
        )
    age = measurement.age(now)
    if age > config.joint_state_age_hold:
        return (
            f"joint_state_age_hold {config.joint_state_age_hold:g} s: the joint state is "
            f"{age:.3g} s old already"
        )
    return ""
