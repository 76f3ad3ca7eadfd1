"""Limits files and URDFs: what is read, and that nothing missing ever means unlimited."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from salus_ros.supervision.config import RANGES, GateConfig
from salus_ros.supervision.errors import LimitsError
from salus_ros.supervision.limits import (
    limits_from_mapping,
    limits_from_urdf,
    load_limits,
    tighter,
)
from salus_ros.supervision.urdf_kinematics import check_kinematics

CONFIG = Path(__file__).parents[2] / "config"
PANDA = [f"panda_joint{j}" for j in range(1, 8)]
FR3 = [f"fr3_joint{j}" for j in range(1, 8)]


def panda_content() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CONFIG / "panda_joint_limits.yaml").read_text())
    return content


def test_panda_file_has_the_published_limits() -> None:
    limits = load_limits(CONFIG / "panda_joint_limits.yaml", PANDA, "panda_gripper")
    assert limits.arm.lower[3] == -3.0718
    assert limits.arm.upper[5] == 3.7525
    assert limits.arm.velocity == (2.175,) * 4 + (2.61,) * 3
    assert limits.arm.acceleration == (15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0)
    assert limits.arm.jerk == (7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0)
    assert limits.gripper is not None
    assert (limits.gripper.closed, limits.gripper.open) == (0.0, 0.085)


def test_fr3_file_has_the_published_limits_and_envelope() -> None:
    arm = load_limits(CONFIG / "fr3_joint_limits.yaml", FR3).arm
    assert arm.lower == (-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159)
    assert arm.velocity == (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26)
    elbow = arm.envelopes[3]
    assert elbow is not None
    assert (elbow.a, elbow.b, elbow.upper, elbow.lower) == (0.30, 8.0, -0.1458, -3.0481)
    # sqrt(8 * 0.5) - 0.3 at half a radian from the end; nothing at or beyond it.
    assert elbow.up(-0.6458) == pytest.approx(1.7)
    assert elbow.up(-0.1458) == 0.0
    assert elbow.up(1.0) == 0.0


def test_operating_limits_are_a_fraction() -> None:
    arm = load_limits(CONFIG / "panda_joint_limits.yaml", PANDA).arm.operating(0.5)
    assert arm.velocity[0] == 2.175 / 2
    assert arm.upper[0] == 2.8973
    with pytest.raises(LimitsError, match=r"operating fraction 0 is not in \(0, 1\]"):
        arm.operating(0.0)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("has_jerk_limits", False, "has no jerk limits"),
        ("has_position_limits", None, "has no position limits"),
        ("has_velocity_limits", "yes", "has no velocity limits"),
        ("max_velocity", None, "max_velocity is None"),
        ("max_velocity", float("nan"), "max_velocity is nan"),
        ("max_acceleration", -1.0, "max_acceleration -1 is not above 0"),
        ("max_jerk", True, "max_jerk is True"),
        ("min_position", 3.0, "min_position 3 is not below"),
        ("velocity_envelope", {"a": 0.1}, "b is None"),
        ("velocity_envelope", 3, "velocity_envelope is 3"),
    ],
)
def test_a_missing_or_senseless_limit_is_an_error(key: str, value: object, expected: str) -> None:
    content = copy.deepcopy(panda_content())
    content["joint_limits"]["panda_joint3"][key] = value
    with pytest.raises(LimitsError, match=expected) as caught:
        limits_from_mapping(content, PANDA)
    assert "panda_joint3" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, [], {}, {"joint_limits": None}, {"joint_limits": {}}])
def test_a_file_without_the_joints_is_an_error(content: object) -> None:
    with pytest.raises(LimitsError):
        limits_from_mapping(content, PANDA)


def test_unreadable_files_are_errors_of_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1,\nb: }")
    for path in (tmp_path / "missing.yaml", bad, tmp_path):
        with pytest.raises(LimitsError) as caught:
            load_limits(path, PANDA)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def urdf(lower: str = 'lower="-1"', velocity: str = 'velocity="9"') -> str:
    limit = f'<limit {lower} upper="9" effort="1" {velocity}/>'
    return f'<robot><joint name="panda_joint1" type="revolute">{limit}</joint></robot>'


def test_the_tighter_of_file_and_urdf_wins() -> None:
    limits = load_limits(CONFIG / "panda_joint_limits.yaml", PANDA)
    merged = tighter(limits, limits_from_urdf(urdf(), ["panda_joint1"]))
    assert merged.arm.lower[0] == -1.0
    assert merged.arm.upper[0] == 2.8973
    assert merged.arm.velocity[0] == 2.175


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<robot", "not XML"),
        ("<robot/>", "no <limit>"),
        (urdf(lower=""), "lower=None"),
        (urdf(velocity='velocity="fast"'), "velocity='fast'"),
        ("<!DOCTYPE robot>" + urdf(), "document type"),
    ],
)
def test_a_urdf_without_limits_is_an_error(text: str, expected: str) -> None:
    with pytest.raises(LimitsError, match=expected):
        limits_from_urdf(text, ["panda_joint1"])


def test_a_urdf_that_leaves_no_range_is_an_error() -> None:
    limits = load_limits(CONFIG / "panda_joint_limits.yaml", PANDA)
    with pytest.raises(LimitsError, match="leave no range"):
        tighter(limits, limits_from_urdf(urdf(lower='lower="5"'), ["panda_joint1"]))


@pytest.mark.parametrize("name", sorted(RANGES))
def test_every_parameter_has_its_range(name: str) -> None:
    low, high = RANGES[name]
    assert low <= getattr(GateConfig(), name) <= high
    for value in (low - 1, high * 2 + 1, float("nan"), "1", None, True):
        with pytest.raises(LimitsError, match=f"{name} is .*give a number from"):
            GateConfig(**{name: value})


def test_parameters_are_checked_against_each_other() -> None:
    with pytest.raises(LimitsError, match="joint_state_age_hold 0.3 s is above"):
        GateConfig(joint_state_age_hold=0.3)
    with pytest.raises(LimitsError, match=r"heartbeats\[manager\] is 0"):
        GateConfig(heartbeats={"manager": 0})


# ---- kinematics of a URDF ---------------------------------------------------------------------

# franka_description, robots/common: joint origins as xyz, rpy.
FRANKA = (
    ("0 0 0.333", "0 0 0"),
    ("0 0 0", "-1.570796326794897 0 0"),
    ("0 -0.316 0", "1.570796326794897 0 0"),
    ("0.0825 0 0", "1.570796326794897 0 0"),
    ("-0.0825 0.384 0", "-1.570796326794897 0 0"),
    ("0 0 0", "1.570796326794897 0 0"),
    ("0.088 0 0", "1.570796326794897 0 0"),
)
FRANKA_JOINTS = [f"fr3_joint{j}" for j in range(1, 8)]


def franka_urdf(changed: int = -1, xyz: str = "0 0 0") -> str:
    joints = [
        f'<joint name="{name}" type="revolute"><axis xyz="0 0 1"/>'
        f'<origin xyz="{xyz if k == changed else place}" rpy="{turn}"/></joint>'
        for k, (name, (place, turn)) in enumerate(zip(FRANKA_JOINTS, FRANKA, strict=True))
    ]
    return f"<robot>{''.join(joints)}</robot>"


def test_a_frankas_urdf_agrees_with_the_kinematics_of_the_workspace() -> None:
    check_kinematics(franka_urdf(), FRANKA_JOINTS)


@pytest.mark.parametrize(
    ("changed", "xyz", "problem"),
    [
        (2, "0 -0.326 0", "fr3_joint4"),
        (6, "0.09 0 0", "fr3_joint7"),
        (0, "0 0 0.30", "fr3_joint2"),
        (3, "0.0825 zero 0", "give three numbers"),
        (3, "nan 0 0", "give three numbers"),
    ],
)
def test_a_urdf_of_another_arm_is_refused_with_a_workspace(
    changed: int, xyz: str, problem: str
) -> None:
    with pytest.raises(LimitsError, match=problem):
        check_kinematics(franka_urdf(changed, xyz), FRANKA_JOINTS)
    with pytest.raises(LimitsError, match="no joint 'panda_joint1'"):
        check_kinematics(franka_urdf(), [f"panda_joint{j}" for j in range(1, 8)])
