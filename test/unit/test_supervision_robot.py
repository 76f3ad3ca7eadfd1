"""A robot that says whether it follows commands: STOP where it doesn't, and nothing jumps after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_supervision_gate import Rig, slow_sine

from salus_ros.interfaces import Instant, JointState
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.errors import GateRefusal
from salus_ros.supervision.gate import SafetyGate
from salus_ros.supervision.modes import Mode
from salus_ros.supervision.robot_guard import RobotReport

READY = RobotReport(ready=True)
REFLEX = RobotReport(ready=False, text="reflex: joint_reflex", released=True)
UNSURE = RobotReport(ready=False, text="no message of its driver")


def required(**changes: Any) -> Rig:
    """A rig whose robot must say that it is ready, and does at first."""
    rig = Rig()
    rig.config = GateConfig(require_robot=True, **changes)
    rig.gate = SafetyGate(rig.config, rig.limits)
    rig.gate.activate(rig.joints(), rig.now, READY)
    return rig


@dataclass
class Arm:
    """An arm that follows the command only while it is ready."""

    rig: Rig
    position: Any

    def run(self, seconds: float, report: RobotReport | None, moved: Any = None) -> None:
        rig = self.rig
        for k in range(round(seconds * rig.config.rate)):
            if k % 10 == 0:
                rig.send()
            rig.pass_time(0.01)
            if report is not None:
                rig.gate.on_robot(report, rig.now)
            joints = JointState(rig.now.ros, self.position, np.zeros(7), np.zeros(0), 0.05)
            rig.gate.on_joint_state(joints, rig.now)
            result = rig.gate.tick(rig.now)
            rig.results.append(result)
            rig.position = result.command.positions
            if report is READY:
                self.position = result.command.positions
            elif moved is not None:
                self.position = moved

    @property
    def mode(self) -> Mode:
        return self.rig.results[-1].mode


def running() -> Arm:
    rig = required()
    arm = Arm(rig, rig.position)
    arm.run(3.0, READY)
    assert arm.mode is Mode.NOMINAL
    return arm


def test_a_reflex_is_a_latched_stop_and_the_command_goes_to_where_the_arm_is() -> None:
    arm = running()
    pushed = arm.position + 0.3
    arm.run(3.0, REFLEX, pushed)
    assert arm.mode is Mode.STOP
    assert "robot_not_ready" in arm.rig.results[-1].reasons
    np.testing.assert_allclose(arm.rig.position, pushed, atol=1e-3)
    refusal = arm.rig.gate.request_reset(arm.rig.now)
    assert refusal[0] is False
    assert "reflex: joint_reflex" in refusal[1]
    # Recovered: still stopped, and the arm, which follows again, stays where it is.
    arm.run(1.0, READY)
    assert arm.mode is Mode.STOP
    np.testing.assert_allclose(arm.position, pushed, atol=1e-3)
    assert arm.rig.gate.request_reset(arm.rig.now)[0]
    arm.rig.plan = lambda time: pushed + 0.05 * np.sin(time)
    arm.rig.source = "anew"
    arm.run(2.0, READY)
    assert arm.mode < Mode.HOLD
    arm.rig.check()


@pytest.mark.parametrize("report", [UNSURE, None], ids=["unsure", "silent"])
def test_where_it_is_not_known_whether_the_robot_follows_the_command_stands(
    report: RobotReport | None,
) -> None:
    """An arm that sags below the command must not be followed down."""
    arm = running()
    arm.run(1.0, report)
    assert arm.mode is Mode.STOP
    stood = arm.rig.position
    arm.run(1.0, report, stood - 0.02)
    np.testing.assert_allclose(arm.rig.position, stood, atol=1e-12)
    arm.rig.check()


def test_activation_needs_a_robot_that_is_ready() -> None:
    rig = required()
    for report, why in ((None, "never said"), (REFLEX, "joint_reflex")):
        with pytest.raises(GateRefusal, match=why):
            rig.gate.activate(rig.joints(), rig.now, report)


def test_a_robot_that_need_not_say_anything_is_not_judged() -> None:
    rig = Rig()
    rig.gate.on_robot(REFLEX, rig.now)
    rig.follow()


@given(
    st.lists(
        st.tuples(st.sampled_from([READY, REFLEX, UNSURE, None]), st.floats(-0.4, 0.4)),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_the_robot_says_the_command_stays_inside_its_limits(phases: Any) -> None:
    arm = running()
    for report, push in phases:
        arm.run(0.4, report, slow_sine(0.0) + push)
        if report is READY:
            arm.rig.gate.request_reset(arm.rig.now)
    arm.rig.check()


def test_reports_are_judged_by_their_age() -> None:
    arm = running()
    arm.run(0.2, None)
    assert arm.mode is Mode.NOMINAL
    arm.run(0.1, None)
    assert arm.mode is Mode.STOP
    late = Instant(arm.rig.now.ros, arm.rig.now.steady)
    assert "last heard of" in arm.rig.gate.request_reset(late)[1]
