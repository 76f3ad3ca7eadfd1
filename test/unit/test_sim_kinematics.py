"""Closed-form kinematics against MuJoCo's own of the model that the rig moves."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.sim.engine import mujoco
from salus_ros.sim.kinematics import LOWER, UPPER, tool_down, tool_pose
from salus_ros.sim.scene import build_scene
from salus_ros.sim.world import HOME

SCENE = build_scene(64)


def model_pose(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    data = mujoco.MjData(SCENE.model)
    data.qpos[:7] = positions
    mujoco.mj_kinematics(SCENE.model, data)
    axes = data.site_xmat[SCENE.tool_site].reshape(3, 3)
    return data.site_xpos[SCENE.tool_site].copy(), axes.copy()


def test_tool_down_reaches_the_point_straight_down_at_the_yaw():
    rng = np.random.default_rng(1)
    for x, y, z, yaw in rng.uniform([0.3, -0.3, 0.0, -0.8], [0.65, 0.3, 0.4, 0.8], (200, 4)):
        point, axes = model_pose(tool_down(x, y, z, yaw))
        assert point == pytest.approx([x, y, z], abs=1e-4)
        assert axes[:, 2] == pytest.approx([0, 0, -1], abs=1e-4)
        assert np.arctan2(axes[0, 1], -axes[1, 1]) == pytest.approx(yaw, abs=1e-4)


def test_tool_pose_agrees_with_the_model_away_from_straight_down_too():
    rng = np.random.default_rng(2)
    for offset in rng.normal(0, 0.2, (100, 7)):
        point, axes = model_pose(HOME + offset)
        pose = tool_pose(HOME + offset)
        assert pose[:3] == pytest.approx(point, abs=1e-4)
        assert pose[3] == pytest.approx(np.arctan2(axes[0, 1], -axes[1, 1]), abs=1e-4)


def test_wrist_stays_well_inside_its_limits_over_the_whole_table():
    rng = np.random.default_rng(3)
    quarter = np.pi / 4
    corners = ([0.36, -0.3, 0.02, -quarter], [0.62, 0.3, 0.3, quarter])
    poses = rng.uniform(*corners, (500, 4))
    poses[:, 3] += np.arctan2(poses[:, 1], poses[:, 0])
    joints = np.array([tool_down(*pose) for pose in poses])
    margin = np.minimum(joints - LOWER, UPPER - joints).min(axis=0)
    assert margin[6] > 1.0
    assert margin.min() > 0.2


@pytest.mark.parametrize("point", [(0.95, 0.0, 0.1), (0.1, 0.0, 0.02), (0.5, 0.0, 1.2)])
def test_out_of_reach_is_said_in_one_line(point):
    with pytest.raises(ValueError, match=r"reach|joint limits") as caught:
        tool_down(*point, 0.0)
    assert "\n" not in str(caught.value)


def test_home_points_straight_down_thirty_centimetres_up():
    point, axes = model_pose(HOME)
    assert point == pytest.approx([0.45, 0.0, 0.30], abs=1e-3)
    assert axes[2, 2] == pytest.approx(-1.0, abs=1e-6)
