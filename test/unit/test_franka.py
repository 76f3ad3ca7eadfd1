"""A Franka's mode, its hand's goals, and its joint states thinned."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_ros.franka.gripper import BINARY, RETRIES, WIDTH, GripperGoal, GripperGoals
from salus_ros.franka.gripper import GripperSettings as Settings
from salus_ros.franka.joint_states import Thinned, opening_width
from salus_ros.franka.robot_mode import MODES, follows_commands, mode_text

TICK = 10_000_000  # ns
OPEN, CLOSED = 0.08, 0.0


class Hand:
    """Commands at 100 Hz to a hand that stands at `measured`."""

    def __init__(self, control: str = BINARY, measured: float = OPEN) -> None:
        self.goals = GripperGoals(Settings(control, CLOSED, OPEN))
        self.measured = measured
        self.now = 5 * TICK
        self.width = measured
        self.sent: list[GripperGoal] = []

    def hold(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self._send(self.width)

    def ramp(self, target: float) -> None:
        """As the supervisor does: at most 1 mm a tick."""
        while self.width != target:
            step = max(-0.001, min(0.001, target - self.width))
            self._send(round(self.width + step, 6))

    def _send(self, width: float) -> None:
        self.now += TICK
        self.width = width
        goal = self.goals.command(width, self.measured, self.now)
        if goal is not None:
            self.sent.append(goal)


@pytest.mark.parametrize("control", [BINARY, WIDTH])
def test_closing_is_one_grasp_and_opening_one_move(control: str) -> None:
    hand = Hand(control)
    hand.hold(1.0)
    assert hand.sent == []
    hand.ramp(CLOSED)
    hand.hold(1.0)
    hand.ramp(OPEN)
    hand.hold(1.0)
    assert hand.sent == [GripperGoal(CLOSED, grasp=True), GripperGoal(OPEN, grasp=False)]


def test_a_width_in_between_is_gone_to_where_widths_are_controlled() -> None:
    hand = Hand(WIDTH)
    hand.ramp(0.05)
    hand.hold(0.2)
    hand.ramp(0.052)
    hand.hold(0.2)
    assert hand.sent == [GripperGoal(0.05, grasp=True)]


@pytest.mark.parametrize("control", [BINARY, WIDTH])
@pytest.mark.parametrize("measured", [0.005, 0.03, 0.06])
def test_it_never_opens_by_itself(control: str, measured: float) -> None:
    """A supervisor that starts commands the measured width: what is held stays held."""
    hand = Hand(control, measured)
    hand.hold(2.0)
    hand.now += 100 * TICK
    hand.hold(1.0)
    assert hand.sent == []


def test_a_supervisor_that_starts_anew_on_a_held_object_drops_nothing() -> None:
    hand = Hand()
    hand.ramp(CLOSED)
    hand.measured = 0.06
    hand.width = 0.06
    hand.hold(2.0)
    assert [goal.grasp for goal in hand.sent] == [True]
    hand.ramp(OPEN)
    assert hand.sent[-1] == GripperGoal(OPEN, grasp=False)


def test_a_failed_goal_is_tried_again_a_few_times() -> None:
    hand = Hand()
    hand.ramp(CLOSED)
    for k in range(RETRIES):
        assert hand.goals.failed(hand.now)
        hand.hold(0.5)
        assert len(hand.sent) == k + 1
        hand.hold(0.7)
        assert len(hand.sent) == k + 2
    assert not hand.goals.failed(hand.now)
    hand.hold(3.0)
    assert len(hand.sent) == 1 + RETRIES


@given(st.sampled_from([BINARY, WIDTH]), st.lists(st.floats(allow_nan=True), max_size=50))
def test_goals_stay_inside_the_range(control: str, widths: list[float]) -> None:
    hand = Hand(control)
    for width in widths:
        for _ in range(8):
            hand._send(width)
    assert all(CLOSED <= goal.width <= OPEN for goal in hand.sent)


def test_only_move_without_errors_follows_commands() -> None:
    assert [mode for mode in MODES if follows_commands(mode, [])] == [2]
    assert mode_text(2, []) == ""
    assert not follows_commands(2, ["joint_reflex"])
    assert mode_text(4, ["joint_reflex"]).startswith("reflex: joint_reflex (")
    assert mode_text(99, []).startswith("mode 99")


def test_widths_are_the_sum_of_two_fingers() -> None:
    assert opening_width([0.02, 0.02]) == 0.04
    for bad in ([], [0.1], [0.1, float("nan")]):
        with pytest.raises(ValueError, match="two fingers"):
            opening_width(bad)


@pytest.mark.parametrize("seed", range(5))
def test_joint_states_are_thinned_to_their_rate(seed: int) -> None:
    thinned, now, taken = Thinned(200.0), 10**9, []
    for step in np.random.default_rng(seed).integers(500_000, 1_500_000, 2000).tolist():
        now += step
        if thinned.take(now):
            taken.append(now)
    gaps = [b - a for a, b in pairwise(taken)]
    assert max(gaps) < 7_000_000
    assert len(taken) == pytest.approx((now - 10**9) / 5_000_000, rel=0.02)


def test_rarer_joint_states_all_pass() -> None:
    thinned = Thinned(200.0)
    assert all(thinned.take(10**9 + k * 20_000_000) for k in range(50))
