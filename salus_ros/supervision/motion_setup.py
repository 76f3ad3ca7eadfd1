"""What follows from the configuration and the robot's limits for the motion of the arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from salus_ros.interfaces import seconds
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.interpolation import GeneratorLimits, generator_limits
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.motion import MotionGenerator
from salus_ros.supervision.reference import CurveLimits
from salus_ros.supervision.space_guard import SpaceGuard
from salus_ros.supervision.stop import Stop

# The plan's curve may use this share of the generator's limits: the rest is for catching up.
CURVE_SHARE: Final = 0.98


@dataclass(frozen=True, slots=True)
class MotionSetup:
    """generator: the motion generator's limits; curve: a plan's; stop: certifies stops."""

    generator: GeneratorLimits
    curve: CurveLimits
    stop: Stop


def motion_setup(config: GateConfig, limits: RobotLimits) -> MotionSetup:
    """Everything for `config.operating_fraction` of the robot's limits, workspace included."""
    arm, fraction = limits.arm, config.operating_fraction
    generator = generator_limits(arm.operating(fraction), seconds(config.period))
    stop = Stop(generator, arm.envelopes, fraction)
    if limits.workspace is not None:
        stop.guard = SpaceGuard(limits.workspace, config.tool_speed, generator)
    return MotionSetup(generator, _curve_limits(generator), stop)


def make_generator(config: GateConfig, limits: RobotLimits, setup: MotionSetup) -> MotionGenerator:
    """A motion generator that hasn't started yet."""
    generator = MotionGenerator(setup.generator, limits.arm.envelopes, config.operating_fraction)
    generator.guard = setup.stop.guard
    return generator


def _curve_limits(limits: GeneratorLimits) -> CurveLimits:
    return CurveLimits(
        CURVE_SHARE * np.asarray(limits.velocity),
        CURVE_SHARE * np.asarray(limits.acceleration),
        CURVE_SHARE * np.asarray(limits.jerk),
    )
