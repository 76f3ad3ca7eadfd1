"""The motion generator, its stops, and the bounds of what lies between the samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salus_ros.interfaces import JointCommand
from salus_ros.supervision.interpolation import (
    CUBIC_END,
    QUINTIC_ACCELERATION,
    cubic,
    edge_is_smooth,
    generator_limits,
    quintic,
)
from salus_ros.supervision.limits import ArmLimits, load_limits
from salus_ros.supervision.motion import AIM_AHEAD, MotionGenerator, Step
from salus_ros.supervision.reference import (
    Curve,
    CurveLimits,
    control_points,
    feasible_points,
)
from salus_ros.supervision.stop import Stop, turning
from salus_ros.supervision.verification import verify

CONFIG = Path(__file__).parents[2] / "config"
MIDDLE = np.array([0.0, 0.0, 0.0, -1.5, 0.0, 1.8, 0.0])
STEP = 1 / 30


def operating(robot: str = "panda") -> ArmLimits:
    joints = [f"{robot}_joint{j}" for j in range(1, 8)]
    return load_limits(CONFIG / f"{robot}_joint_limits.yaml", joints).arm.operating(0.5)


def generator(period: float = 0.01, robot: str = "panda") -> MotionGenerator:
    arm = operating(robot)
    return MotionGenerator(generator_limits(arm, period), arm.envelopes, 0.5)


def follow(
    plan: Callable[[float], np.ndarray], seconds: float, period: float = 0.01, noise: float = 0.0
) -> tuple[list[JointCommand], np.ndarray]:
    """Commands while a plan is followed in chunks of 0.3 s, and their distances from it."""
    moving = generator(period)
    random = np.random.default_rng(5)
    lim = moving.limits
    shares = [0.98 * np.array(x) for x in (lim.velocity, lim.acceleration, lim.jerk)]
    assert moving.start(plan(0.0).tolist())
    still = np.zeros(7)
    commands = [JointCommand(-round(period * 1e9), plan(0.0), still, still, None)]
    distances = []
    per_chunk = round(0.3 / period)
    for k in range(round(seconds / period)):
        time = k * period
        if k % per_chunk == 0:
            start = max(time - 0.1, 0.0)
            rows = np.array([plan(start + i * STEP) for i in range(25)])
            rows += random.uniform(-noise, noise, rows.shape)
            curve = Curve(feasible_points(rows, STEP, CurveLimits(*shares))[0], start, STEP)
        now, following, aim = (curve.at(time + t) for t in (0.0, period, AIM_AHEAD))
        moving.send(moving.track(now, following, curve.peaks(time), lambda aim=aim: aim))
        q, v, a = (np.array(x) for x in moving.state)
        commands.append(JointCommand(k * round(period * 1e9), q, v, a, None))
        distances.append(q - plan(time + period))
    found = verify(commands, operating(), round(period * 1e9), 0.5)
    assert not found, str(found[0])
    return commands, np.abs(np.array(distances))


def sine(frequency: float, size: float) -> Callable[[float], np.ndarray]:
    return lambda time: MIDDLE + size * np.sin(2 * math.pi * frequency * time + np.arange(7))


@pytest.mark.parametrize("period", [0.01, 0.001])
def test_a_feasible_plan_is_followed_exactly(period: float) -> None:
    _, distances = follow(sine(0.3, 0.25), 4.0, period)
    assert distances[len(distances) // 2 :].max() < 1e-6


@pytest.mark.parametrize("period", [0.01, 0.001])
def test_a_noisy_plan_is_followed_within_its_noise(period: float) -> None:
    _, distances = follow(sine(0.2, 0.2), 4.0, period, noise=0.01)
    settled = distances[len(distances) // 2 :]
    assert settled.max() < 0.015
    assert np.sqrt((settled**2).mean()) < 0.005


def test_a_seam_is_caught_up_with_without_overshoot() -> None:
    commands, _ = follow(lambda time: MIDDLE + (0.1 if time > 1 else 0.0), 2.5)
    q = np.array([command.positions for command in commands]) - MIDDLE
    assert q.max() < 0.1 * 1.03
    assert q.min() > -0.1 * 0.03
    np.testing.assert_allclose(q[-1], 0.1, atol=1e-6)


def test_too_fast_a_plan_never_stops_the_arm() -> None:
    commands, _ = follow(sine(1.0, 0.3), 4.0)
    speeds = np.array([np.abs(command.velocities).max() for command in commands[50:]])
    assert speeds.min() > 0.1


def test_a_plan_into_a_limit_ends_at_it() -> None:
    arm = operating()
    goal = np.array(arm.upper)
    commands, _ = follow(lambda time: np.minimum(MIDDLE + time, goal), 8.0)
    np.testing.assert_allclose(commands[-1].positions, goal, atol=1e-4)


@pytest.mark.parametrize("robot", ["panda", "fr3"])
def test_stops_come_to_rest_inside_all_limits(robot: str) -> None:
    arm = operating(robot)
    random = np.random.default_rng(11)
    solver = Stop(generator_limits(arm, 0.01), arm.envelopes, 0.5)
    limits = generator_limits(arm, 0.01)
    certified = 0
    for _ in range(500):
        q = random.uniform(arm.lower, arm.upper)
        v = random.uniform(-1, 1, 7) * limits.velocity
        a = random.uniform(-1, 1, 7) * limits.acceleration
        trajectory, failing = solver.from_state((q.tolist(), v.tolist(), a.tolist()))
        assert (trajectory is None) is bool(failing)
        if trajectory is None:
            continue
        certified += 1
        times = np.arange(0, trajectory.duration + 0.02, 0.001)
        path = np.array([trajectory.at_time(float(time))[0] for time in times])
        assert (path >= np.array(arm.lower)).all()
        assert (path <= np.array(arm.upper)).all()
        end = trajectory.at_time(trajectory.duration)
        np.testing.assert_allclose(end[1:], 0.0, atol=1e-9)
    assert certified > 50


def test_a_stop_beyond_a_limit_is_not_certified() -> None:
    arm = operating()
    solver = Stop(generator_limits(arm, 0.01), arm.envelopes, 0.5)
    near = list(arm.upper)
    near[0] -= 0.01
    near[1] = near[2] = near[4] = near[6] = 0.0
    near[3], near[5] = -1.5, 1.8
    still, up, down = [0.0] * 7, [0.5] + [0.0] * 6, [-0.5] + [0.0] * 6
    assert solver.from_state((near, still, still))[1] == []
    assert solver.from_state((near, up, still))[1] == [0]
    assert solver.from_state((near, down, still))[1] == []
    assert 0 in solver.from_state((near, [9.0] + [0.0] * 6, still))[1]


def test_turning_is_where_the_velocity_passes_zero() -> None:
    # v = 0.1 - 2 t + 10 t^2 / 2 first passes zero at 0.0586.
    time = np.linspace(0, 0.2, 200001)
    q = 0.1 * time - time**2 + 10 * time**3 / 6
    assert turning(0.1, -2.0, 10.0) == pytest.approx(q[time < 0.0586].max(), abs=1e-7)
    assert turning(-0.1, 2.0, 10.0) == pytest.approx(-turning(0.1, -2.0, 10.0))
    assert turning(0.1, 2.0, 10.0) == 0.0
    assert turning(1.0, -2.0, 10.0) == 0.0


def test_stop_is_the_last_resort_and_always_there() -> None:
    moving = generator()
    assert moving.start(MIDDLE.tolist())
    for _ in range(30):
        assert moving.send(moving.approach((MIDDLE + 1).tolist())) is Step.APPROACH
    before = moving.state
    ticks = 0
    while not moving.at_rest:
        assert moving.send(moving.stop()) is Step.STOP
        ticks += 1
    assert 0 < ticks < 100
    assert moving.state[0][0] > before[0][0]


def test_start_outside_is_refused_and_changes_nothing() -> None:
    moving = generator()
    assert moving.start(MIDDLE.tolist())
    outside = MIDDLE.copy()
    outside[0] = 2.9
    assert not moving.start(outside.tolist())
    assert moving.state[0] == MIDDLE.tolist()


def smooth_paths(jerk: float, period: float, count: int) -> list[np.ndarray]:
    """(q, v, a) at both ends of `count` random ticks of a curve with |q'''| <= jerk."""
    random = np.random.default_rng(7)
    pieces = 64
    paths = []
    for _ in range(count):
        switches = np.sort(random.integers(0, pieces, 3))
        signs = np.where(np.searchsorted(switches, np.arange(pieces), "right") % 2, -jerk, jerk)
        state = np.array([0.0, random.normal(), random.normal()])
        ends = [state]
        step = period / pieces
        for j in signs:
            q, v, a = state
            state = np.array(
                [
                    q + step * (v + step * (a / 2 + step * j / 6)),
                    v + step * (a + step * j / 2),
                    a + step * j,
                ]
            )
        ends.append(state)
        paths.append(np.array(ends))
    return paths


def test_interpolants_stay_within_their_derived_bounds() -> None:
    jerk, period = 90.0, 0.01
    u = np.linspace(0, 1, 1001)
    for before, after in smooth_paths(jerk, period, 300):
        assert edge_is_smooth(tuple(before), tuple(after), jerk, period)
        line = before[2] + (after[2] - before[2]) * u
        for curve, bend, steep in ((cubic, CUBIC_END, 1.0), (quintic, QUINTIC_ACCELERATION, 4.6)):
            q = curve(tuple(before), tuple(after), period, u)
            dt = period / 1000
            a = np.diff(q, 2) / dt**2
            # Rounding of the second difference: 1e-16 / dt^2.
            assert np.abs(a - line[1:-1]).max() <= bend * jerk * period + 1e-4
            assert np.abs(np.diff(a[::50])).max() / (50 * dt) <= steep * jerk + 0.5


def test_rough_edges_are_seen() -> None:
    jerk, period = 90.0, 0.01
    before = (0.0, 0.5, 0.0)
    assert edge_is_smooth(before, (0.005, 0.5, 0.0), jerk, period)
    assert not edge_is_smooth(before, (0.006, 0.5, 0.0), jerk, period)
    assert not edge_is_smooth(before, (0.005, 0.51, 0.0), jerk, period)
    assert not edge_is_smooth(before, (0.005, 0.5, 1.0), jerk, period)


@pytest.mark.parametrize("period", [0.1, 0.02, 0.01, 0.004, 0.001])
@pytest.mark.parametrize("robot", ["panda", "fr3"])
def test_the_generator_keeps_most_of_the_limits(period: float, robot: str) -> None:
    arm = operating(robot)
    limits = generator_limits(arm, period)
    assert (np.array(limits.acceleration) > 0.9 * np.array(arm.acceleration)).all()
    assert (np.array(limits.velocity) > 0.85 * np.array(arm.velocity)).all()
    assert (np.array(limits.jerk) <= np.array(arm.jerk)).all()


def test_verification_sees_a_small_step() -> None:
    commands, _ = follow(sine(0.3, 0.2), 1.0)
    spoiled = list(commands)
    moved = spoiled[50].positions.copy()
    moved[2] += 1e-4
    spoiled[50] = JointCommand(
        spoiled[50].stamp, moved, spoiled[50].velocities, spoiled[50].accelerations, None
    )
    found = verify(spoiled, operating(), 10_000_000, 0.5)
    assert {violation.joint for violation in found} == {"panda_joint3"}
    late = list(commands)
    late[3] = JointCommand(1, *(np.array(x) for x in (MIDDLE, MIDDLE * 0, MIDDLE * 0)), None)
    assert any(v.measure == "stamps" for v in verify(late, operating(), 10_000_000, 0.5))


def test_raw_curve_is_the_reference_for_deviation() -> None:
    rows = np.random.default_rng(2).uniform(-0.1, 0.1, (9, 7)) + MIDDLE
    curve = Curve(control_points(rows, 0), 0.0, STEP)
    np.testing.assert_allclose(curve.position(3 * STEP), rows[3], atol=1e-8)
