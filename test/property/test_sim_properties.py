"""The rig's promises under anything that is thrown at it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_ros.interfaces import JointCommand
from salus_ros.sim.controller import ControllerMode, JointController
from salus_ros.sim.episode import Episode, EpisodeStatus, Moment, Phase
from salus_ros.sim.kinematics import tool_down, tool_pose
from salus_ros.sim.motion import Motion, ToolState
from salus_ros.sim.rig import Rig
from salus_ros.sim.tasks import TASKS
from salus_ros.sim.world import HOME

MS = 1_000_000
TICK = 10 * MS
RIG = Rig()

numbers = st.floats(-4, 4) | st.sampled_from([float("nan"), float("inf"), 1e30])
joints = st.lists(numbers, min_size=7, max_size=7).map(np.array)
near_home = st.lists(st.floats(-0.02, 0.02), min_size=7, max_size=7).map(lambda d: HOME + d)
commands = st.builds(
    JointCommand,
    stamp=st.integers(0, 10**9),
    positions=joints | near_home,
    velocities=joints | st.just(np.zeros(7)),
    accelerations=st.just(np.zeros(7)),
    gripper=st.none() | numbers,
)
gaps = st.integers(0, 80).map(lambda steps: steps * 2 * MS)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(commands, gaps), max_size=30))
def test_whatever_comes_the_reference_is_finite_and_silence_brings_rest(stream):
    controller = JointController()
    controller.reset(HOME, 0.08)
    for command, gap in stream:
        controller.command(command)
        for _ in range(gap // (2 * MS)):
            controller.step(2 * MS)
        assert np.isfinite(controller.reference).all()
        assert 0.0 <= controller.width <= 0.085
    accepted = controller.status.accepted
    for _ in range(60):
        controller.step(2 * MS)
    if accepted:
        assert controller.status.mode is not ControllerMode.FOLLOWING
    # Of the cubic between two samples inside the limits.
    assert np.abs(controller.reference[1]).max() < 10.0
    speed = np.abs(controller.reference[1]).max()
    for _ in range(int(speed / controller.config.brake_deceleration * 500) + 5):
        controller.step(2 * MS)
    assert controller.status.mode is ControllerMode.HOLDING
    assert not controller.reference[1].any()


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    task=st.sampled_from(TASKS),
    wobble=st.lists(st.floats(-0.3, 0.3), min_size=7, max_size=7).map(np.array),
    slices=st.lists(st.sampled_from([2, 4, 10, 20]), min_size=1, max_size=6),
)
def test_the_same_calls_give_the_same_states_however_time_is_sliced(seed, task, wobble, slices):
    def run(durations: list[int]) -> tuple[np.ndarray, object]:
        status = RIG.reset(task.instruction, seed)
        for k in range(30):
            command = JointCommand(
                k * TICK, HOME + wobble * (k / 30) ** 2, wobble * k / 45, HOME, None
            )
            RIG.command(command)
            left, i = TICK, 0
            while left:
                step = min(durations[i % len(durations)] * MS, left)
                RIG.advance(step)
                left, i = left - step, i + 1
        return RIG.joint_state().positions, (status.seed, RIG.events, RIG.episode.phase)

    whole, sliced = run([10]), run(slices)
    assert (whole[0] == sliced[0]).all()
    assert whole[1] == sliced[1]


places = st.tuples(st.floats(0.2, 0.9), st.floats(-0.5, 0.5), st.floats(0.0, 0.4)).map(np.array)
moments = st.tuples(
    st.sampled_from([None, "red", "blue"]), places, places, st.floats(0, 0.3),
    st.floats(0, 0.085), st.floats(0, 0.085), st.integers(1, 60), st.booleans(),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(moments, max_size=60), st.sampled_from(["pick", "reach"]))
def test_an_episode_ends_once_and_its_failures_lie_in_it(stream, action):
    start = {"red": np.array([0.5, 0, 0.02]), "blue": np.array([0.4, 0, 0.02])}
    task = next(t for t in TASKS if t.action == action and t.color == "red")
    episode, time, ended = Episode(EpisodeStatus(1, 0, "", ""), task, start, 3000 * MS), 0, None
    for grasped, red, tool, speed, opening, wanted, ticks, hit in stream:
        time += ticks * TICK
        blocks = {"red": red, "blue": start["blue"]}
        episode.judge(Moment(time, grasped, blocks, tool, speed, opening, wanted))
        if hit:
            episode.collide(time, "table")
        status = episode.status
        if ended is not None:
            assert status == ended
        elif status.phase is Phase.ENDED:
            ended = status
            assert 0 < status.end <= time * 1e-9 + 1e-9
            assert status.success or status.failure_type
        for event in episode.events:
            assert 0 <= event.onset <= time * 1e-9 + 1e-9
        assert bool(episode.events) == bool(status.failure_type)


poses = st.tuples(
    st.floats(0.35, 0.62), st.floats(-0.3, 0.3), st.floats(0.02, 0.35), st.floats(-0.7, 0.7)
).map(np.array)


@given(poses)
def test_the_kinematics_are_each_others_inverse(pose):
    np.testing.assert_allclose(tool_pose(tool_down(*pose)), pose, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(poses, st.lists(poses, min_size=1, max_size=4), st.floats(0, 1))
def test_motions_are_smooth_slow_enough_and_arrive_also_when_turned_round(first, goals, when):
    state = ToolState(first, np.zeros(4), np.zeros(4), 0.08)
    for goal in goals:
        motion = Motion(state)
        motion.move_to("go", goal, 0.02)
        times = np.arange(0, motion.duration + 0.03, 0.01)
        trace = np.array([motion.at(t)[1].pose for t in times])
        speed = np.linalg.norm(np.diff(trace[:, :3], axis=0), axis=1) / 0.01
        assert speed.max(initial=0) < 0.30
        assert np.abs(np.diff(trace, 2, axis=0)).max(initial=0) / 1e-4 < 3.1
        np.testing.assert_allclose(motion.at(motion.duration + 1)[1].pose, goal, atol=1e-9)
        state = motion.at(when * motion.duration)[1]
