"""The scripted expert, alone and with the rig in lock-step."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from salus_ros.interfaces import BlockPose, JointCommand, JointState, Observation
from salus_ros.policy.backend import PolicyError, Prediction
from salus_ros.sim.disturbances import Disturbance
from salus_ros.sim.expert import ScriptedExpert
from salus_ros.sim.kinematics import tool_down, tool_pose
from salus_ros.sim.motion import Motion, ToolState
from salus_ros.sim.rig import Rig
from salus_ros.sim.tasks import TASKS
from salus_ros.sim.world import HOME

TICK = 10_000_000
SECOND = 1_000_000_000
PICK = "pick up the red block"
# Half of the Panda's: spec of the operating limits.
VELOCITY = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61]) / 2
ACCELERATION = np.array([15, 7.5, 10, 12.5, 15, 20, 20]) / 2
JERK = np.array([7500, 3750, 5000, 6250, 7500, 10000, 10000]) / 2


def block(x: float = 0.5, y: float = 0.05, yaw: float = 0.4, color: str = "red") -> BlockPose:
    return BlockPose(color, np.array([x, y, 0.02]), yaw)


def view(
    stamp: int = 0,
    joints: np.ndarray = HOME,
    gripper: float = 0.085,
    blocks: tuple[BlockPose, ...] = (block(), block(0.4, -0.1, 0.0, "blue")),
    instruction: str = PICK,
) -> Observation:
    state = JointState(stamp, joints, np.zeros(7), np.zeros(7), gripper)
    return Observation(stamp, state, instruction, {}, blocks)


def whole_plan(observation: Observation, seconds: float = 6.0) -> np.ndarray:
    """Rows [n, 8] of the expert's first plan at 100 Hz."""
    expert = ScriptedExpert(rows=round(seconds * 100), time_step=TICK)
    return expert.predict(observation).actions


def sampled(prediction: Prediction, elapsed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and its rate at `elapsed` ns, on the parabola through the three nearest rows."""
    rows, u = prediction.actions, elapsed / prediction.time_step
    k = int(np.clip(round(u), 1, len(rows) - 2))
    f = u - k
    slope, bend = (rows[k + 1] - rows[k - 1]) / 2, rows[k + 1] - 2 * rows[k] + rows[k - 1]
    rate = (slope + f * bend) / (prediction.time_step * 1e-9)
    return rows[k] + f * slope + f * f * bend / 2, rate


def run_episode(
    rig: Rig,
    instruction: str,
    seed: int,
    disturbance: str | Disturbance | None = None,
    silent: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Lock-step: a chunk each 0.25 s, a command each 10 ms but for the silent seconds."""
    expert, start = ScriptedExpert(), rig.time
    rig.reset(instruction, seed, disturbance)
    prediction, stamp, tick = None, 0, 0
    while rig.episode.end < 0:
        if tick % 25 == 0:
            observation = rig.observe(())
            prediction, stamp = expert.predict(observation), observation.stamp
        if not silent[0] <= (rig.time - start) * 1e-9 < silent[1]:
            due = rig.time + TICK
            row, rate = sampled(prediction, due - stamp)
            rig.command(JointCommand(due, row[:7], rate[:7], np.zeros(7), float(row[7])))
        rig.advance(TICK)
        tick += 1


@pytest.fixture(scope="module")
def rig():
    return Rig()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.action}_{task.color}")
def test_every_task_succeeds_without_any_failure_on_the_way(rig, task):
    for seed in range(100, 106):
        run_episode(rig, task.instruction, seed)
        assert rig.episode.success, (seed, rig.episode, rig.events)
        assert rig.events == ()
        assert rig.episode.end < (6.0 if task.action == "pick" else 3.0)


def test_blocks_outside_the_usual_area_are_reached_too(rig):
    for seed, direction in ((1, -1.0), (2, 1.0)):
        run_episode(rig, PICK, seed, Disturbance("block_moved", 0, 0.14, direction))
        assert rig.episode.success


def test_a_block_pushed_away_is_followed(rig):
    for seed in range(4):
        run_episode(rig, PICK, seed, Disturbance("block_pushed", SECOND, 0.06, 2.5))
        assert rig.episode.success, (seed, rig.events)


def test_a_lost_block_is_picked_again(rig):
    # Slippery while it is lifted; then the fingers hold again, as a second try finds them.
    lost = Disturbance("block_slippery", 3_300_000_000, 0.0)
    run_episode(rig, PICK, 0, lost)
    assert [e.type for e in rig.events].count("drop") >= 2, "it keeps trying"
    assert rig.episode.failure_type == "drop"
    assert rig.episode.failure_onset > 3.3


@pytest.mark.parametrize("silent", [(0.8, 1.6), (2.9, 3.5), (3.6, 4.6)])
def test_an_arm_that_was_held_goes_on_from_where_it_rests(rig, silent):
    run_episode(rig, PICK, 7, silent=silent)
    assert rig.episode.success, rig.events


def test_plans_keep_half_of_the_pandas_limits_and_the_tool_its_speed():
    rng = np.random.default_rng(4)
    for x, y, yaw in rng.uniform([0.36, -0.3, -3.1], [0.6, 0.3, 3.1], (12, 3)):
        rows = whole_plan(view(blocks=(block(x, y, yaw),)))
        velocity = np.diff(rows[:, :7], axis=0) / 0.01
        acceleration = np.diff(velocity, axis=0) / 0.01
        jerk = np.diff(acceleration, axis=0) / 0.01
        assert (np.abs(velocity).max(axis=0) < VELOCITY).all()
        assert (np.abs(acceleration).max(axis=0) < ACCELERATION).all()
        assert (np.abs(jerk).max(axis=0) < JERK).all()
        points = np.array([tool_pose(row[:7])[:3] for row in rows])
        assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() / 0.01 < 0.25
        assert np.abs(np.diff(rows[:, 7])).max() / 0.01 <= 0.11


def test_a_pick_goes_down_onto_the_block_along_its_sides_then_up():
    rows = whole_plan(view())
    poses = np.array([tool_pose(row[:7]) for row in rows])
    low = poses[poses[:, 2] < 0.025]
    assert low[:, :2] == pytest.approx(np.broadcast_to([0.5, 0.05], (len(low), 2)), abs=2e-3)
    assert np.sin(2 * (low[:, 3] - 0.4)) == pytest.approx(np.zeros(len(low)), abs=0.02)
    closing = np.flatnonzero(rows[:, 7] < 0.04)
    assert poses[closing[0], 2] < 0.025, "it closes at the block"
    assert poses[-1, 2] > 0.15
    assert rows[-1, 7] < 0.03
    assert 3.0 < closing[0] * 0.01 + 0.7 < 5.0


def test_a_reach_stays_above_and_leaves_the_gripper_open():
    rows = whole_plan(view(instruction="reach above the blue block"))
    poses = np.array([tool_pose(row[:7]) for row in rows])
    assert poses[-1, :3] == pytest.approx([0.4, -0.1, 0.11], abs=5e-3)
    assert poses[:, 2].min() > 0.09
    assert rows[:, 7].min() > 0.06


def test_successive_chunks_are_parts_of_one_motion():
    expert = ScriptedExpert(rows=100, time_step=TICK)
    first = expert.predict(view()).actions
    later = expert.predict(view(stamp=50 * TICK, joints=first[50, :7])).actions
    assert later[:50] == pytest.approx(first[50:], abs=1e-12)


def test_a_small_tracking_error_changes_nothing():
    expert = ScriptedExpert(rows=100, time_step=TICK)
    first = expert.predict(view()).actions
    later = expert.predict(view(stamp=50 * TICK, joints=first[50, :7] + 0.01)).actions
    assert later[:50] == pytest.approx(first[50:], abs=1e-12)


def test_a_moved_block_bends_the_motion_without_a_jump():
    expert = ScriptedExpert(rows=500, time_step=TICK)
    first = expert.predict(view()).actions
    moved = (block(0.42, -0.08, 1.0),)
    later = expert.predict(view(stamp=80 * TICK, joints=first[80, :7], blocks=moved)).actions
    assert later[:10] == pytest.approx(first[80:90], abs=1e-12), "what is under way stays"
    seam = np.vstack([first[:80, :7], later[:, :7]])
    acceleration = np.diff(seam, 2, axis=0) / 0.01**2
    jerk = np.diff(seam, 3, axis=0) / 0.01**3
    assert (np.abs(acceleration).max(axis=0) < ACCELERATION).all()
    assert (np.abs(jerk).max(axis=0) < JERK).all()
    poses = np.array([tool_pose(row[:7]) for row in later])
    assert poses[poses[:, 2].argmin(), :2] == pytest.approx([0.42, -0.08], abs=2e-3)


def test_going_down_is_turned_round_without_touching_the_table():
    expert = ScriptedExpert(rows=500, time_step=TICK)
    first = expert.predict(view()).actions
    heights = np.array([tool_pose(row[:7])[2] for row in first])
    for height in (0.10, 0.07, 0.05, 0.03):
        expert.reset()
        expert.predict(view())
        k = int(np.flatnonzero(heights < height)[0])
        seen = view(stamp=k * TICK, joints=first[k, :7], blocks=(block(0.42, -0.1, 1.0),))
        later = expert.predict(seen).actions
        assert min(tool_pose(row[:7])[2] for row in later) > 0.015


def test_a_sideways_motion_first_brakes_the_way_down_as_hard_as_it_was_begun():
    down = ToolState(np.array([0.5, 0, 0.11, 0]), np.array([0, 0, -0.2, 0]), np.zeros(4), 0.08)
    motion = Motion(down)
    motion.move_to("aside", np.array([0.5, 0.2, 0.11, 0.0]), 0.08)
    assert min(motion.at(t)[1].pose[2] for t in np.arange(0, 3, 0.01)) > 0.06


def test_a_held_arm_is_planned_for_from_where_it_rests():
    expert = ScriptedExpert(rows=100, time_step=TICK)
    expert.predict(view())
    rests = tool_down(0.46, 0.01, 0.25, 0.1) + np.array([0, 0, 0.03, 0, -0.02, 0, 0])
    rows = expert.predict(view(stamp=SECOND, joints=rests)).actions
    # It stands still for the lead, so that the chunk arrives before it moves.
    assert rows[:10, :7] == pytest.approx(np.tile(rests, (10, 1)), abs=1e-6)
    assert np.abs(np.diff(rows[:, :7], 2, axis=0)).max() / 0.01**2 < ACCELERATION.min()


def test_a_block_in_the_hand_is_lifted_and_not_let_go():
    joints = tool_down(0.5, 0.0, 0.06, 0.0)
    held = BlockPose("red", np.array([0.5, 0.0, 0.055]), 0.0)
    rows = whole_plan(view(joints=joints, gripper=0.036, blocks=(held,)))
    assert rows[:, 7].max() < 0.04
    assert tool_pose(rows[-1, :7])[:3] == pytest.approx([0.5, 0.0, 0.17], abs=3e-3)


def test_another_instruction_starts_another_motion():
    expert = ScriptedExpert(rows=400, time_step=TICK)
    first = expert.predict(view()).actions
    seen = view(stamp=50 * TICK, joints=first[50, :7], instruction="pick up the blue block")
    rows = expert.predict(seen).actions
    poses = np.array([tool_pose(row[:7]) for row in rows])
    assert poses[poses[:, 2].argmin(), :2] == pytest.approx([0.4, -0.1], abs=2e-3)


def test_after_a_reset_the_same_view_gives_the_same_chunk():
    expert = ScriptedExpert()
    first = expert.predict(view()).actions
    expert.predict(view(stamp=SECOND, blocks=(block(0.4, 0.1),)))
    expert.reset()
    assert (expert.predict(view()).actions == first).all()


def test_default_chunks_are_32_rows_of_seven_joints_and_a_width_at_30_hz():
    prediction = ScriptedExpert().predict(view())
    assert prediction.actions.shape == (32, 8)
    assert prediction.time_step == pytest.approx(SECOND / 30, abs=1)
    assert prediction.actions[0, :7] == pytest.approx(HOME, abs=1e-4)
    assert ((prediction.actions[:, 7] >= 0) & (prediction.actions[:, 7] <= 0.0852)).all()


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (view(instruction="juggle"), "unknown instruction"),
        (view(instruction="pick up the green block"), "no green block .*: red, blue"),
        (view(blocks=()), "none"),
        (view(blocks=(block(1.5, 0.0),)), "reach"),
        (view(joints=np.zeros(6)), "6 joints"),
    ],
)
def test_what_it_cannot_do_is_one_line_and_the_next_view_works_again(observation, message):
    expert = ScriptedExpert()
    with pytest.raises(PolicyError, match=message) as caught:
        expert.predict(observation)
    assert "\n" not in str(caught.value)
    assert expert.predict(view()).actions.shape == (32, 8)


@pytest.mark.parametrize("bad", [{"rows": 1}, {"time_step": 0}, {"lead": -1}])
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValueError, match="rows"):
        ScriptedExpert(**bad)


def test_it_needs_no_camera_and_says_that_it_is_privileged():
    assert ScriptedExpert.cameras == ()
    assert ScriptedExpert.privileged


def test_it_does_not_load_the_simulator():
    code = "import sys, salus_ros.sim.expert; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_observations_of_the_past_do_not_shake_the_plan():
    expert = ScriptedExpert(rows=100, time_step=TICK)
    first = expert.predict(view()).actions
    old = replace(view(stamp=20 * TICK, joints=first[20, :7]))
    expert.predict(view(stamp=50 * TICK, joints=first[50, :7]))
    assert expert.predict(old).actions[:80] == pytest.approx(first[20:], abs=1e-12)


@pytest.mark.parametrize(
    ("disturbance", "instruction", "kind", "onset"),
    [
        (Disturbance("actuator_weakened", 2 * SECOND, 0.7), PICK, "collision", 2.0),
        (Disturbance("block_slippery", 3 * SECOND, 0.0), PICK, "drop", 3.0),
        (Disturbance("block_pushed", 2_300_000_000, 0.08, 0.4), PICK, "miss", 2.3),
        (Disturbance("wrong_instruction", 0, 1.0), PICK, "timeout", 0.0),
    ],
)
def test_every_failure_type_comes_about_after_the_onset_of_its_cause(
    rig, disturbance, instruction, kind, onset
):
    run_episode(rig, instruction, 2, disturbance)
    assert rig.episode.failure_type == kind, rig.events
    assert onset < rig.episode.failure_onset <= rig.episode.end
