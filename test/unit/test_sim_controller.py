"""The robot's side of the command stream."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.interfaces import JointCommand
from salus_ros.sim.controller import ControllerMode, JointController
from salus_ros.sim.gripper import MAX_SPEED, MAX_WIDTH

MS = 1_000_000
STEP, PERIOD = 2 * MS, 10 * MS
START = np.array([0.1, -0.3, 0.0, -2.3, 0.0, 2.0, 0.8])
AMPLITUDE, RATE = 0.2, 2.0


def sample(stamp: int, gripper: float | None = None) -> JointCommand:
    """A sine that starts at START at rest, in all joints."""
    t = stamp * 1e-9
    position = START + AMPLITUDE * (1 - np.cos(RATE * t))
    velocity = np.full(7, AMPLITUDE * RATE * np.sin(RATE * t))
    return JointCommand(stamp, position, velocity, np.zeros(7), gripper)


def make() -> JointController:
    controller = JointController()
    controller.reset(START, MAX_WIDTH)
    return controller


def play(controller: JointController, samples: int, first: int = 1) -> list[np.ndarray]:
    """Hand over one sample per period; the references [7] after each physics step."""
    trace = []
    for k in range(first, first + samples):
        assert controller.command(sample(k * PERIOD)), controller.status.rejection
        trace += run(controller, PERIOD)
    return trace


def run(controller: JointController, duration: int) -> list[np.ndarray]:
    trace = []
    for _ in range(duration // STEP):
        controller.step(STEP)
        trace.append(controller.reference[0])
    return trace


def test_reference_is_the_hermite_of_the_samples_one_period_late():
    trace = play(make(), 100)
    for i, reference in enumerate(trace):
        wanted = sample((i + 1) * STEP).positions
        assert reference == pytest.approx(wanted, abs=2e-7)


def test_reference_velocity_is_the_references_own_derivative():
    controller = make()
    play(controller, 50)
    before = controller.reference[0]
    velocity = controller.reference[1]
    controller.command(sample(51 * PERIOD))
    run(controller, STEP)
    assert (controller.reference[0] - before) / 0.002 == pytest.approx(velocity, abs=3e-3)


def test_without_commands_the_arm_brakes_at_bounded_deceleration_and_holds():
    controller = make()
    trace = play(controller, 40)
    speed = controller.reference[1].max()
    assert speed > 0.25
    trace += run(controller, 90 * MS)
    assert controller.status.mode is ControllerMode.FOLLOWING
    trace += run(controller, 10 * MS)
    assert controller.status.mode is ControllerMode.BRAKING
    trace += run(controller, 400 * MS)
    assert controller.status.mode is ControllerMode.HOLDING
    velocities = np.diff(trace, axis=0) / 0.002
    accelerations = np.diff(velocities, axis=0) / 0.002
    assert np.abs(accelerations).max() <= controller.config.brake_deceleration * 1.01
    assert controller.reference[1] == pytest.approx(np.zeros(7))
    assert np.ptp(trace[-20:], axis=0) == pytest.approx(np.zeros(7))
    assert "100 ms" in controller.status.rejection


def test_after_a_timeout_only_a_stream_near_the_held_position_is_taken():
    controller = make()
    play(controller, 40)
    run(controller, 600 * MS)
    held = controller.reference[0]
    still = np.zeros(7)
    far = JointCommand(7, held + 0.05, still, still, None)
    assert not controller.command(far)
    assert controller.status.mode is ControllerMode.HOLDING
    assert "from the held position" in controller.status.rejection
    # A new stream may start its own clock anywhere.
    assert controller.command(JointCommand(7, held + 0.01, still, still, None))
    trace = run(controller, 100 * MS)
    assert trace[-1] == pytest.approx(held + 0.01, abs=1e-9)
    assert np.abs(np.diff(trace, axis=0)).max() / 0.002 < 1.0


def test_while_braking_nothing_is_taken():
    controller = make()
    play(controller, 40)
    run(controller, 104 * MS)
    assert controller.status.mode is ControllerMode.BRAKING
    assert not controller.command(sample(41 * PERIOD))
    assert controller.status.rejected == 1


def test_a_late_sample_never_makes_the_motion_faster():
    controller = make()
    trace = play(controller, 40)
    trace += run(controller, 30 * MS)
    trace += play(controller, 30, first=41)
    steps = np.abs(np.diff(trace, axis=0)).max() / 0.002
    assert steps <= AMPLITUDE * RATE * 1.15


def test_a_lost_sample_is_bridged():
    controller = make()
    play(controller, 20)
    run(controller, PERIOD)
    assert controller.command(sample(22 * PERIOD))
    run(controller, PERIOD)
    assert controller.status.mode is ControllerMode.FOLLOWING
    assert controller.reference[0] == pytest.approx(sample(21 * PERIOD).positions, abs=4e-3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"positions": np.full(7, np.nan)}, "finite"),
        ({"velocities": np.full(7, np.inf)}, "finite"),
        ({"gripper": float("nan")}, "finite"),
        ({"positions": np.zeros(6)}, "positions"),
        ({"positions": START + 0.5}, "held position"),
        ({"positions": START + 4.0}, "joint limits"),
        ({"velocities": np.full(7, 3.0)}, "velocity"),
    ],
)
def test_unusable_commands_are_refused_with_the_reason(change, reason):
    controller = make()
    good = {"stamp": PERIOD, "positions": START, "velocities": np.zeros(7)}
    fields = {**good, "accelerations": np.zeros(7), "gripper": None, **change}
    assert not controller.command(JointCommand(**fields))
    assert reason in controller.status.rejection
    run(controller, 200 * MS)
    assert controller.reference[0] == pytest.approx(START)


@pytest.mark.parametrize("stamp", [5 * PERIOD, 10 * PERIOD, 40 * PERIOD])
def test_stamps_that_go_back_or_leap_are_refused(stamp):
    controller = make()
    play(controller, 10)
    assert not controller.command(sample(stamp))
    assert "stamp" in controller.status.rejection


def test_a_leap_is_refused():
    controller = make()
    play(controller, 10)
    good = sample(11 * PERIOD)
    leap = JointCommand(good.stamp, good.positions + 0.05, good.velocities, np.zeros(7), None)
    assert not controller.command(leap)
    assert "leaps" in controller.status.rejection
    assert controller.command(good)


def test_gripper_moves_at_its_own_speed_and_stays_in_range():
    controller = make()
    for k in range(1, 21):
        controller.command(sample(k * PERIOD, gripper=-1.0))
        run(controller, PERIOD)
    assert controller.width == pytest.approx(MAX_WIDTH - 0.2 * MAX_SPEED, abs=1e-6)
    assert controller.width_goal == 0.0


def test_gripper_keeps_its_width_through_a_timeout():
    controller = make()
    for k in range(1, 31):
        controller.command(sample(k * PERIOD, gripper=0.06))
        run(controller, PERIOD)
    run(controller, 1000 * MS)
    assert controller.status.mode is ControllerMode.HOLDING
    assert controller.width == pytest.approx(0.06)
