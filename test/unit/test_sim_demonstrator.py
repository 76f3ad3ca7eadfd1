"""The teacher: it does every task, from one moment alone, and so does its data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from salus_ros.interfaces import BlockPose, JointState, Observation
from salus_ros.policy.anchor import Anchor, Start
from salus_ros.policy.backend import PolicyError, Prediction
from salus_ros.sim.demonstrator import Demonstrator, demonstrate, steer
from salus_ros.sim.kinematics import tool_down, tool_pose
from salus_ros.sim.lockstep import Lockstep, LockstepConfig
from salus_ros.sim.lockstep_series import panda_limits
from salus_ros.sim.rig import Rig
from salus_ros.sim.tasks import TASKS, Task
from salus_ros.sim.world import HOME

STEP = 33_333_333
RED = BlockPose("red", np.array([0.50, 0.05, 0.02]), 0.3)
PICK = Task("pick", "red")


def at_rest(joints: np.ndarray, width: float = 0.085) -> Start:
    return Start(np.array([*joints, width]), np.zeros(8))


def seen(stamp: int, positions: np.ndarray, velocities: np.ndarray | None = None) -> Observation:
    speeds = np.zeros(7) if velocities is None else velocities
    joints = JointState(stamp, positions, speeds, np.zeros(7), 0.085)
    return Observation(stamp, joints, PICK.instruction, privileged_blocks=(RED,))


@pytest.mark.parametrize("latency", [0.03, 0.1])
def test_it_does_every_task_through_loop_and_gate(latency):
    rig = Rig()
    config = LockstepConfig(latency=latency, execution_horizon=3)
    lockstep = Lockstep(rig, Demonstrator(), panda_limits(), config=config)
    runs = [
        lockstep.run_episode(task.instruction, 5000 + i)
        for i, task in enumerate(TASKS)
        if i % 2 == (latency > 0.05)
    ]
    assert all(run.status.success for run in runs)


def test_from_the_same_moment_comes_the_same_chunk_whatever_was_before():
    fresh, used = Demonstrator(), Demonstrator()
    used.predict(seen(0, HOME + 0.2))
    used.reset()
    assert np.array_equal(
        fresh.predict(seen(STEP, HOME)).actions, used.predict(seen(STEP, HOME)).actions
    )


def test_successive_chunks_are_parts_of_one_motion():
    """A chunk that starts where the last one was at some row follows the last one's rows."""
    chunk = demonstrate(at_rest(HOME), 0.085, PICK, RED)
    speed = (chunk[7] - chunk[6]) * 30
    later = demonstrate(Start(chunk[6], speed), 0.085, PICK, RED)
    assert np.abs(later[:20] - chunk[6:26]).max() < 0.02


def test_it_closes_over_the_block_and_nowhere_else():
    over = demonstrate(at_rest(tool_down(0.50, 0.05, 0.02, 0.3)), 0.085, PICK, RED)
    beside = demonstrate(at_rest(tool_down(0.44, -0.05, 0.12, 0.0)), 0.085, PICK, RED)
    assert over[10, 7] < 0.06 and np.all(np.diff(beside[:10, 7]) <= 0.0)
    assert beside[10, 7] >= 0.0749


def test_it_lifts_what_it_holds_and_opens_when_it_holds_nothing():
    grasp = at_rest(tool_down(0.50, 0.05, 0.02, 0.3), width=0.015)
    lifted = demonstrate(grasp, 0.040, PICK, RED)
    assert tool_pose(lifted[-1, :7])[2] > 0.1 and lifted[-1, 7] == pytest.approx(0.015)
    beside = at_rest(tool_down(0.44, 0.05, 0.02, 0.3), width=0.015)
    empty = demonstrate(beside, 0.010, PICK, RED)
    assert empty[-1, 7] > 0.07


def test_low_among_the_blocks_it_goes_up_before_it_goes_across():
    start = at_rest(tool_down(0.42, -0.08, 0.03, 0.0))
    path = np.array([tool_pose(row[:7]) for row in demonstrate(start, 0.075, PICK, RED)])
    moved = np.hypot(*(path[:, :2] - path[0, :2]).T)
    assert moved[path[:, 2] < 0.06].max() < 0.01 and moved[-1] > 0.02


def test_a_reach_keeps_the_yaw_and_ends_above_the_block():
    start = at_rest(tool_down(0.45, 0.0, 0.2, 0.4))
    last = demonstrate(start, 0.085, Task("reach", "red"), RED, rows=90)[-1]
    x, y, z, yaw = tool_pose(last[:7])
    assert np.hypot(x - 0.50, y - 0.05) < 0.01 and 0.06 < z - 0.02 < 0.12
    assert yaw == pytest.approx(0.4, abs=0.01)


def test_steering_goes_to_a_pose_whatever_is_there():
    goal = np.array([0.45, -0.1, 0.2, 0.3])
    rows = steer(at_rest(HOME), goal, closed=True, rows=60)
    np.testing.assert_allclose(tool_pose(rows[-1, :7]), goal, atol=0.01)
    assert rows[-1, 7] == pytest.approx(0.015)


def test_what_it_cannot_do_is_refused_in_one_line():
    for bad in (
        replace(seen(0, HOME), instruction="dance"),
        replace(seen(0, HOME), privileged_blocks=()),
        replace(seen(0, HOME), joints=replace(seen(0, HOME).joints, gripper=None)),
    ):
        with pytest.raises(PolicyError) as error:
            Demonstrator().predict(bad)
        assert "\n" not in str(error.value)


# --- the anchor ---


def chunk_of(speed: float) -> Prediction:
    times = np.arange(32)[:, None] * STEP * 1e-9
    return Prediction(np.array([*HOME, 0.08]) + speed * times, STEP)


def test_the_anchor_is_the_plan_where_the_arm_follows_it():
    anchor = Anchor()
    anchor.remember(0, chunk_of(0.2))
    start = anchor.at(seen(3 * STEP, HOME + 0.01, np.full(7, 0.2)))
    np.testing.assert_allclose(start.targets[:7], HOME + 0.02, atol=1e-6)
    np.testing.assert_allclose(start.velocities[:7], 0.2, atol=1e-6)


@pytest.mark.parametrize(
    ("stamp", "offset", "speed"),
    [(3 * STEP, 0.2, 0.2), (3 * STEP, 0.0, 0.0), (40 * STEP, 0.0, 0.2), (-STEP, 0.0, 0.2)],
    ids=["far away", "held", "plan over", "clock set back"],
)
def test_the_anchor_is_the_arm_where_the_plan_does_not_count(stamp, offset, speed):
    anchor = Anchor()
    anchor.remember(0, chunk_of(0.2))
    start = anchor.at(seen(stamp, HOME + offset, np.full(7, speed)))
    np.testing.assert_allclose(start.targets[:7], HOME + offset)
    assert not start.velocities.any()


def test_a_forgotten_plan_does_not_count():
    anchor = Anchor()
    anchor.remember(0, chunk_of(0.2))
    anchor.forget()
    assert np.array_equal(anchor.at(seen(STEP, HOME)).targets[:7], HOME)
