"""What a robot's controller makes of each adapter's messages is the curve that limits hold on."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_supervision_adversary import World

from salus_ros.interfaces import Instant, JointCommand, seconds
from salus_ros.supervision.adapters import INTERPOLATION, TrajectoryPoints
from salus_ros.supervision.interpolation import quintic
from salus_ros.supervision.verification import CURVES, _differences, verify

State = tuple[Any, Any, Any]
MILLISECOND = 1_000_000


class TrajectoryController:
    """ros2_control's joint_trajectory_controller at 1 kHz: quintics between points, a new
    trajectory joined to the state that is commanded when it comes.
    """

    def __init__(self, now: int) -> None:
        self.now = now
        self.points: list[tuple[int, State]] = []
        self.positions: list[Any] = []
        self.times: list[int] = []

    def replace(self, start: int, period: int, commands: list[JointCommand]) -> None:
        due = [start + k * period for k in range(1, len(commands) + 1)]
        assert due[-1] > self.now, "a trajectory that ends in the past is refused"
        joint = [(self.now, self.state())] if self.points else []
        states = [(c.positions, c.velocities, c.accelerations) for c in commands]
        future = [(t, s) for t, s in zip(due, states, strict=True) if t > self.now]
        self.points = [*joint, *future]

    def state(self) -> State:
        """Sampled on the segment in force; position, velocity, acceleration by its derivatives."""
        later = [k for k, (time, _) in enumerate(self.points) if time > self.now]
        if not later or later[0] == 0:
            return self.points[-1 if not later else 0][1]
        (t0, before), (t1, after) = self.points[later[0] - 1], self.points[later[0]]
        span = seconds(t1 - t0)
        coefficients = _quintic_coefficients(before, after, span)
        time = seconds(self.now - t0)
        return tuple(  # type: ignore[return-value]
            np.array([np.polyval(np.polyder(c, order), time) for c in coefficients])
            for order in range(3)
        )

    def run(self, until: int) -> None:
        while self.now < until:
            if self.points:
                self.positions.append(self.state()[0])
                self.times.append(self.now)
            self.now += MILLISECOND


def _quintic_coefficients(before: State, after: State, span: float) -> list[Any]:
    (q0, v0, a0), (q1, v1, a1) = before, after
    matrix = np.array(
        [
            [span**3, span**4, span**5],
            [3 * span**2, 4 * span**3, 5 * span**4],
            [6 * span, 12 * span**2, 20 * span**3],
        ]
    )
    rest = np.array([q1 - q0 - v0 * span - a0 * span**2 / 2, v1 - v0 - a0 * span, a1 - a0])
    c3, c4, c5 = np.linalg.solve(matrix, rest)
    return [np.array(c) for c in zip(c5, c4, c3, a0 / 2, v0, q0, strict=True)]


def moving_world(robot: str, seed: int, ticks: int) -> tuple[World, list[Instant]]:
    """An adversary that is on time, and when each tick was."""
    world = World(robot, 100.0, seed, space=False)
    times = []
    world.choose_motion()
    for _ in range(ticks):
        chance = world.random.random(2)
        if chance[0] < 0.02:
            world.choose_motion()
        if chance[1] < 0.2:
            world.send(world.chunk())
        world.advance(world.gate.period, world.gate.period)
        world.tick()
        times.append(world.now)
    return world, times


@pytest.mark.parametrize(("robot", "seed", "lead"), [("panda", 8, 2), ("fr3", 5, 3)])
def test_a_trajectory_controller_makes_the_curve_that_is_judged(
    robot: str, seed: int, lead: int
) -> None:
    world, times = moving_world(robot, seed, 250)
    period = world.gate.period
    points = TrajectoryPoints(period, lead)
    controller = TrajectoryController(times[0].ros)
    late = np.random.default_rng(3).integers(0, (lead - 1) * period - MILLISECOND, len(times))
    for command, now, delay in zip(world.commands, times, late.tolist(), strict=True):
        start, due = points.add(command, now)
        # Messages come late, each by another time, but in order.
        controller.run(max(now.ros + delay, controller.now))
        controller.replace(start, period, list(due))
    made = np.array(controller.positions)
    assert np.ptp(made, axis=0).max() > 0.05
    assert not _differences(made, 0.001, world.operating, "controller", 0), "beyond a limit"
    assert not verify(
        world.commands,
        world.operating,
        period,
        world.config.operating_fraction,
        curves=("quintic",),
    )
    # It is the commands' own quintic, `lead` ticks later.
    wanted = _sampled(world.commands, seconds(period))
    began = times[0].ros + lead * period
    first = controller.times.index(began)
    count = min(len(made) - first, len(wanted))
    assert count > 2000
    np.testing.assert_allclose(made[first:][:count], wanted[:count], atol=1e-9)


def _sampled(commands: list[JointCommand], step: float) -> Any:
    fine = []
    for before, after in itertools.pairwise(commands):
        ends = [(c.positions, c.velocities, c.accelerations) for c in (before, after)]
        fine += [quintic(*ends, step, np.array(u)) for u in np.arange(0, 1, 0.001 / step)]
    return np.array(fine)


def test_every_adapter_names_a_curve_that_is_verified_or_none() -> None:
    assert {name for name in INTERPOLATION.values() if name} == set(CURVES)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    late=st.lists(st.integers(0, 80_000_000), min_size=1, max_size=40),
    jump=st.integers(-(10**10), 10**10),
    lead=st.integers(1, 5),
)
def test_a_trajectory_never_ends_in_the_past_and_never_far_ahead(
    late: list[int], jump: int, lead: int
) -> None:
    period = 10_000_000
    points = TrajectoryPoints(period, lead)
    zero = np.zeros(7)
    now = stamp = 10**15
    for k, delay in enumerate(late):
        now += period + delay + (jump if k == len(late) // 2 else 0)
        stamp += period
        command = JointCommand(stamp, zero, zero, zero, None)
        start, due = points.add(command, Instant(now, 0))
        end = start + len(due) * period
        assert now + period <= end <= now + 2 * lead * period + period
        assert 1 <= len(due) <= lead
