"""The rig: resets, time, contacts, observations."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from salus_ros.interfaces import JointCommand
from salus_ros.sim.controller import ControllerMode
from salus_ros.sim.disturbances import Disturbance
from salus_ros.sim.engine import asset_folder
from salus_ros.sim.kinematics import tool_down
from salus_ros.sim.rig import Rig, RigConfig
from salus_ros.sim.window import RigWindow
from salus_ros.sim.world import CAMERAS, HOME

PERIOD = 10_000_000
SECOND = 1_000_000_000
PICK = "pick up the red block"


@pytest.fixture(scope="module")
def rig():
    rig = Rig(RigConfig(image_size=64))
    yield rig
    rig.close()


def follow(rig: Rig, poses: list[tuple[float, ...]], seconds: float) -> None:
    """Drive the tool through poses (x, y, z, yaw, width), `seconds` for each."""
    x, y, z = rig.tool_point
    last = np.array([x, y, z, 0.0, 0.085])
    joints = rig.joint_state().positions
    for pose in poses:
        ticks = round(seconds * 100)
        for i in range(1, ticks + 1):
            u = i / ticks
            now = last + (np.array(pose) - last) * u**3 * (10 - 15 * u + 6 * u * u)
            before, joints = joints, tool_down(*now[:4])
            speed = (joints - before) / 0.01
            command = JointCommand(rig.time + PERIOD, joints, speed, np.zeros(7), float(pose[4]))
            assert rig.command(command), rig.robot.rejection
            rig.advance(PERIOD)
        last = np.array(pose)


def place(rig: Rig, color: str) -> np.ndarray:
    return next(b.position for b in rig.blocks() if b.color == color)


def test_same_seed_same_episode_bit_for_bit():
    def story(rig: Rig) -> list[np.ndarray]:
        rig.reset(PICK, 11, Disturbance("block_pushed", SECOND // 5, 0.05, 1.0))
        follow(rig, [(0.5, 0.05, 0.15, 0.2, 0.04)], 0.7)
        return [rig.joint_state().positions, *(b.position for b in rig.blocks())]

    used, fresh = Rig(), Rig()
    used.reset(PICK, 3, "block_slippery")
    used.advance(SECOND)
    for a, b in zip(story(used), story(fresh), strict=True):
        assert (a == b).all()


def test_episodes_are_counted_and_begin_at_home_with_time_going_on(rig):
    number, time = rig.episode.number, rig.time
    rig.reset(PICK, 1)
    rig.advance(SECOND)
    status = rig.reset("reach above the blue block", 2, "distractor")
    assert status.number == number + 2
    assert (status.seed, status.instruction) == (2, "reach above the blue block")
    assert (status.disturbance, status.failure_onset, status.end) == ("distractor", -1.0, -1.0)
    assert rig.time == time + SECOND
    assert rig.joint_state().positions == pytest.approx(HOME)
    assert rig.joint_state().stamp == rig.time


def test_left_alone_nothing_moves_and_the_episode_times_out():
    rig = Rig(RigConfig(time_limit=5 * SECOND))
    rig.reset(PICK, 4)
    start = {b.color: b.position for b in rig.blocks()}
    rig.advance(5 * SECOND)
    for block in rig.blocks():
        assert block.position == pytest.approx(start[block.color], abs=1e-3)
    assert rig.joint_state().positions == pytest.approx(HOME, abs=2e-3)
    assert (rig.episode.failure_type, rig.episode.end) == ("timeout", 5.0)
    assert rig.episode.failure_onset == pytest.approx(1.1, abs=0.02)


def test_the_arm_follows_within_a_few_milliradians(rig):
    rig.reset(PICK, 1)
    follow(rig, [(0.50, 0.12, 0.20, 0.3, 0.06)], 1.2)
    # The controller plays one period late.
    rig.advance(50_000_000)
    state = rig.joint_state()
    assert state.positions == pytest.approx(tool_down(0.50, 0.12, 0.20, 0.3), abs=4e-3)
    assert rig.tool_point == pytest.approx([0.50, 0.12, 0.20], abs=4e-3)
    assert state.gripper == pytest.approx(0.06, abs=2e-3)
    assert state.efforts[1] < -5.0, "joint 2 carries the arm's weight"


def test_a_grasped_block_is_held_and_does_not_creep(rig):
    rig.reset(PICK, 8)
    x, y, z = place(rig, "red")
    yaw = next(b.yaw for b in rig.blocks() if b.color == "red") % (np.pi / 2)
    low, high = (x, y, z, yaw), (x, y, 0.2, yaw)
    follow(rig, [(*high, 0.08), (*low, 0.08), (*low, 0.015), (*high, 0.015)], 1.5)
    assert rig.grasped == "red"
    height = place(rig, "red")[2]
    rig.advance(5 * SECOND)
    assert rig.grasped == "red"
    assert place(rig, "red")[2] == pytest.approx(height, abs=1e-3)
    assert rig.episode.success


@pytest.mark.parametrize("what", ["table", "block"])
def test_driving_the_fingers_into_something_is_a_collision_with_it(rig, what):
    # A reach, where closing the fingers first is no miss.
    rig.reset("reach above the red block", 5)
    x, y = (0.35, -0.25) if what == "table" else place(rig, "red")[:2]
    follow(rig, [(x, y, 0.15, 0.0, 0.0)], 1.5)
    assert not rig.events
    for i in range(100):
        joints = tool_down(x, y, 0.15 - 0.17 * i / 100, 0.0)
        rig.command(JointCommand(rig.time + PERIOD, joints, np.zeros(7), np.zeros(7), 0.0))
        rig.advance(PERIOD)
    assert rig.episode.failure_type == "collision"
    assert rig.events[0].detail == ("table" if what == "table" else "red")
    assert rig.episode.failure_onset == rig.episode.end
    assert 1.5 < rig.episode.end < 2.5


def test_closing_on_nothing_is_a_miss(rig):
    rig.reset(PICK, 5)
    follow(rig, [(0.45, 0.0, 0.3, 0.0, 0.015)], 1.0)
    assert rig.episode.failure_type == "miss"
    # From 85 mm to below 30 mm at 120 mm/s.
    assert 0.4 < rig.episode.failure_onset < 0.7


def test_without_commands_the_arm_brakes_and_holds(rig):
    rig.reset(PICK, 5)
    for i in range(1, 40):
        joints = HOME + 0.3 * (i / 100) ** 2
        speed = np.full(7, 0.6 * i / 100)
        rig.command(JointCommand(rig.time + PERIOD, joints, speed, np.zeros(7), None))
        rig.advance(PERIOD)
    assert np.abs(rig.joint_state().velocities).max() > 0.15
    rig.advance(SECOND)
    assert rig.robot.mode is ControllerMode.HOLDING
    assert np.abs(rig.joint_state().velocities).max() < 1e-2


def test_the_unused_block_is_neither_reported_nor_reachable(rig):
    for seed in range(20):
        rig.reset(PICK, seed)
        if len(rig.blocks()) == 3:
            break
    colors = {b.color for b in rig.blocks()}
    assert "red" in colors and len(colors) == 3


def test_block_poses_are_those_of_the_drawn_start_state(rig):
    rig.reset(PICK, 9)
    before = rig.blocks()
    rig.advance(SECOND // 2)
    for a, b in zip(before, rig.blocks(), strict=True):
        assert a.color == b.color
        assert a.position == pytest.approx(b.position, abs=1e-3)
        assert a.yaw == pytest.approx(b.yaw, abs=1e-2)


def test_an_observation_belongs_to_one_moment(rig):
    rig.reset(PICK, 9)
    rig.advance(SECOND // 10)
    observation = rig.observe(())
    assert observation.stamp == observation.joints.stamp == rig.time
    assert observation.instruction == PICK
    assert observation.images == {}
    assert len(observation.privileged_blocks) >= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dance", 1), "unknown instruction"),
        ((PICK, 1, "earthquake"), "unknown disturbance 'earthquake'; known: camera_covered"),
        ((PICK, -1), "seed"),
    ],
)
def test_bad_resets_are_refused_in_one_line_and_change_nothing(rig, arguments, message):
    before = rig.episode
    with pytest.raises(ValueError, match=message) as caught:
        rig.reset(*arguments)
    assert "\n" not in str(caught.value)
    assert rig.episode == before


def test_time_passes_in_whole_physics_steps_only(rig):
    with pytest.raises(ValueError, match="multiple"):
        rig.advance(3_000_000)
    with pytest.raises(ValueError, match="multiple"):
        rig.advance(-2_000_000)


@pytest.mark.parametrize(
    "bad", [{"image_size": 0}, {"time_limit": 0}, {"collision_force": float("nan")}]
)
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        RigConfig(**bad)


def test_missing_model_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gym_hil", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install"):
        asset_folder()


def test_gym_hil_itself_is_never_imported():
    """In a process of its own: LeRobot's tests import gymnasium into this one."""
    code = "from salus_ros.sim.rig import Rig; import sys; Rig().close(); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mujoco" in run.stdout.split()
    assert not {"gym_hil", "gymnasium"} & set(run.stdout.split())


def test_a_window_without_a_display_is_one_clear_line(rig, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if sys.platform != "linux":
        pytest.skip("displays are named by environment variables on Linux only")
    with pytest.raises(RuntimeError, match="no display"):
        RigWindow(rig)


def test_unknown_camera_is_refused(rig):
    rig.reset(PICK, 9)
    try:
        rig.images(CAMERAS)
    except RuntimeError as error:
        pytest.skip(str(error))
    with pytest.raises(ValueError, match="known: front, wrist"):
        rig.images(("top",))
