"""The gate as a whole: modes, transitions, requests, gripper, clocks, interventions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salus_ros.interfaces import ActionChunk, Instant, JointState, nanoseconds
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.errors import GateRefusal
from salus_ros.supervision.gate import SafetyGate, TickResult
from salus_ros.supervision.interventions import Intervention, InterventionQueue, Kind
from salus_ros.supervision.limits import RobotLimits, load_limits
from salus_ros.supervision.modes import CAUSES, MODE_TEXTS, Cause, Mode
from salus_ros.supervision.verification import verify

CONFIG = Path(__file__).parents[2] / "config"
JOINTS = tuple(f"panda_joint{j}" for j in range(1, 8))
MIDDLE = np.array([0.0, 0.0, 0.0, -1.5, 0.0, 1.8, 0.0])
MILLISECOND = 1_000_000


def panda(gripper: str = "panda_gripper") -> RobotLimits:
    return load_limits(CONFIG / "panda_joint_limits.yaml", JOINTS, gripper)


def slow_sine(time: float) -> Any:
    return MIDDLE + 0.1 * np.sin(time + np.arange(7))


@dataclass
class Rig:
    """A gate on an arm that follows its commands exactly, with clocks that the test moves."""

    config: GateConfig = field(default_factory=GateConfig)
    limits: RobotLimits = field(default_factory=panda)
    plan: Callable[[float], Any] = slow_sine
    width: float = 0.05
    send_joints: bool = True
    send_chunks: bool = True
    number: int = 0
    source: str = "policy"
    offset: Any = field(default_factory=lambda: np.zeros(7))

    def __post_init__(self) -> None:
        self.gate = SafetyGate(self.config, self.limits)
        self.now = Instant(5_000_000_000, 40)
        self.began = self.now.ros
        self.position = self.plan(0.0)
        self.results: list[TickResult] = []
        self.gate.activate(self.joints(), self.now)

    def joints(self) -> JointState:
        return JointState(
            self.now.ros, self.position + self.offset, np.zeros(7), np.zeros(0), self.width
        )

    def chunk(self, rows: int = 30, age: float = 0.03, **changes: Any) -> ActionChunk:
        self.number += 1
        stamp = self.now.ros - nanoseconds(age)
        times = [(stamp - self.began) * 1e-9 + k / 30 for k in range(rows)]
        actions = np.array([np.append(self.plan(time), self.width) for time in times])
        chunk = ActionChunk(
            self.source,
            self.number,
            JOINTS,
            "panda_gripper",
            stamp,
            33_333_333,
            actions,
            0,
            rows,
            stamp,
        )
        return replace(chunk, **changes)

    def send(self, **changes: Any) -> bool:
        return self.gate.on_chunk(self.chunk(**changes), self.now)

    def pass_time(self, seconds: float) -> None:
        step = nanoseconds(seconds)
        self.now = Instant(self.now.ros + step, self.now.steady + step)

    def tick(self, after: float | None = None) -> TickResult:
        self.pass_time(self.gate.period * 1e-9 if after is None else after)
        if self.send_joints:
            self.gate.on_joint_state(self.joints(), self.now)
        result = self.gate.tick(self.now)
        self.results.append(result)
        self.position = result.command.positions
        return result

    def run(self, seconds: float) -> TickResult:
        """Tick on, a chunk every 0.1 s where chunks are sent."""
        for k in range(round(seconds * self.config.rate)):
            if self.send_chunks and k % max(1, round(self.config.rate / 10)) == 0:
                self.send()
            result = self.tick()
        return result

    def follow(self) -> TickResult:
        """Run until the plan is followed."""
        result = self.run(3.0)
        assert result.mode is Mode.NOMINAL, self.gate.state(self.now).text
        return result

    def come_to_rest(self) -> None:
        for _ in range(100):
            if self.tick() and self.gate.at_rest:
                return
        raise AssertionError("no rest")

    def check(self) -> None:
        commands = [result.command for result in self.results]
        fraction = self.config.operating_fraction
        found = verify(commands, self.limits.arm.operating(fraction), self.gate.period, fraction)
        assert not found, str(found[0])


def reasons(records: list[Intervention]) -> list[str]:
    return [record.reason for record in records]


# ---- activation -------------------------------------------------------------------------------


def test_the_output_starts_at_the_measured_position_at_rest() -> None:
    rig = Rig()
    start = rig.position.copy()
    result = rig.tick()
    np.testing.assert_array_equal(result.command.positions, start)
    np.testing.assert_array_equal(result.command.velocities, np.zeros(7))
    assert (result.mode, result.reasons) == (Mode.HOLD, ("plan_missing",))
    assert result.command.gripper == rig.width


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"velocities": np.full(7, 0.2)}, "panda_joint1 moves at 0.2 rad/s"),
        ({"positions": MIDDLE + 2.0}, "is outside"),
        ({"positions": MIDDLE[:6]}, "has 6 positions: expected 7"),
        ({"velocities": np.zeros(0)}, "has 0 velocities: expected 7"),
        ({"positions": MIDDLE * np.nan}, "positions of panda_joint1 is nan"),
        ({"stamp": 0}, "s old"),
        ({"stamp": 10**18}, "in the future"),
        ({"gripper": None}, "width of panda_gripper is None"),
        ({"gripper": float("nan")}, "width of panda_gripper is nan"),
    ],
)
def test_activation_is_refused_in_one_line(change: dict[str, Any], expected: str) -> None:
    gate = SafetyGate(GateConfig(), panda())
    now = Instant(10**10, 0)
    joints = replace(JointState(now.ros, MIDDLE, np.zeros(7), np.zeros(0), 0.04), **change)
    with pytest.raises(GateRefusal, match=expected) as caught:
        gate.activate(joints, now)
    assert "\n" not in str(caught.value)
    assert not gate.active
    assert gate.mode is Mode.INACTIVE
    with pytest.raises(GateRefusal):
        gate.tick(now)


def test_an_arm_without_a_gripper_needs_none() -> None:
    rig = Rig(limits=panda(""))
    assert rig.tick().command.gripper is None
    assert rig.gate.on_chunk(
        rig.chunk(gripper_name="", actions=np.tile(rig.position, (30, 1))), rig.now
    )


# ---- following and HOLD -----------------------------------------------------------------------


def test_a_plan_is_followed_after_the_resume_delay_and_the_next_tick() -> None:
    rig = Rig()
    rig.follow()
    modes = [result.mode for result in rig.results]
    first = next(k for k, mode in enumerate(modes) if mode < Mode.HOLD)
    assert 0.5 <= first * 0.01 <= 0.75
    assert rig.gate.state(rig.now).plan_deviation < 1e-6
    rig.check()


def test_a_hold_ends_as_a_plan_begins_where_the_arm_is_rather_than_in_its_midst() -> None:
    rig = Rig(config=GateConfig(resume_delay=0.05))
    begun, home = 0.0, rig.position.copy()
    rig.plan = lambda time: home + 0.3 * np.clip(time - begun, 0.0, 0.2)
    rig.send_chunks = False
    rig.send()
    assert rig.run(0.15).mode is Mode.HOLD  # The plan is 0.04 rad away by now.
    begun = rig.now.ros * 1e-9 - rig.began * 1e-9
    rig.send(age=0.0)
    assert rig.run(0.02).mode is Mode.NOMINAL
    rig.check()


def test_a_chunk_acts_at_the_next_tick() -> None:
    rig = Rig()
    rig.follow()
    rig.send_chunks = False
    rig.plan = lambda time: slow_sine(time) + 0.05
    before = rig.gate.state(rig.now).plan_deviation
    rig.send()
    rig.tick()
    assert rig.gate.state(rig.now).plan_deviation > before + 0.04
    rig.check()


def test_a_plan_that_ran_out_is_a_hold_within_two_ticks() -> None:
    rig = Rig()
    rig.follow()
    rig.send(rows=5)
    rig.send_chunks = False
    end = rig.now.ros - nanoseconds(0.03) + 4 * 33_333_333
    while rig.tick().mode < Mode.HOLD:
        assert rig.now.ros <= end + 2 * rig.gate.period
    assert rig.results[-1].reasons == ("plan_ran_out",)
    rig.come_to_rest()
    rig.check()


def test_a_plan_with_an_old_observation_is_a_hold() -> None:
    rig = Rig()
    rig.follow()
    rig.send_chunks = False
    rig.run(0.6)
    assert rig.results[-1].reasons == ("plan_stale",)
    assert rig.gate.at_rest


@pytest.mark.parametrize("jump", [0.0, 100.0, -100.0])
def test_hold_resumes_only_with_a_chunk_observed_since_the_rest(jump: float) -> None:
    rig = Rig(config=GateConfig(observation_age=5.0))
    rig.follow()
    rig.gate.request_hold(True, rig.now)
    rig.tick()
    rig.send_chunks = False
    rig.come_to_rest()
    before_rest = rig.chunk(rows=200, age=0.01)
    rig.gate.request_hold(False, rig.now)
    step = nanoseconds(jump)
    rig.now = Instant(rig.now.ros + step, rig.now.steady)
    rig.began += step
    before_rest = replace(
        before_rest,
        start_time=before_rest.start_time + step,
        observation_stamp=before_rest.observation_stamp + step,
    )
    assert rig.gate.on_chunk(before_rest, rig.now)
    assert rig.run(1.0).reasons == ("resuming",)
    assert rig.send(rows=200, age=0.01)
    assert rig.tick().mode < Mode.HOLD
    rig.check()


def test_hold_lasts_half_a_second_after_its_cause() -> None:
    rig = Rig()
    rig.follow()
    rig.gate.request_hold(True, rig.now)
    rig.run(0.5)
    rig.gate.request_hold(False, rig.now)
    assert rig.run(0.4).reasons == ("resuming",)
    assert rig.run(0.3).mode < Mode.HOLD


def test_joint_states_late_are_a_hold_and_lost_are_a_stop() -> None:
    rig = Rig()
    rig.follow()
    rig.send_joints = False
    rig.run(0.05)
    assert rig.results[-1].mode is Mode.NOMINAL
    rig.run(0.02)
    assert rig.results[-1].reasons == ("joint_state_stale",)
    rig.run(0.15)
    assert rig.results[-1].reasons[0] == "joint_state_lost"
    assert rig.results[-1].mode is Mode.STOP
    done, message = rig.gate.request_reset(rig.now)
    assert not done
    assert "s old" in message
    rig.check()


def test_joint_states_are_judged_by_stamp_as_well_as_by_arrival() -> None:
    rig = Rig()
    rig.follow()
    rig.send_joints = False
    for _ in range(20):
        rig.pass_time(0.01)
        rig.gate.on_joint_state(replace(rig.joints(), stamp=rig.now.ros - 10**8), rig.now)
        result = rig.gate.tick(rig.now)
    assert "joint_state_stale" in result.reasons


def test_invalid_joint_states_are_ignored_and_so_go_stale() -> None:
    rig = Rig()
    rig.follow()
    rig.send_joints = False
    for _ in range(10):
        rig.pass_time(0.01)
        bad = replace(rig.joints(), positions=np.full(7, np.nan))
        assert "is nan" in rig.gate.on_joint_state(bad, rig.now)
        result = rig.gate.tick(rig.now)
    assert "joint_state_stale" in result.reasons


def test_a_required_heartbeat_that_is_lost_is_a_hold() -> None:
    rig = Rig(config=GateConfig(heartbeats={"manager": 1.0}))
    for _ in range(30):
        rig.gate.on_heartbeat("manager", rig.now)
        rig.gate.on_heartbeat("someone else", rig.now)
        rig.run(0.1)
    assert rig.results[-1].mode is Mode.NOMINAL
    rig.run(1.2)
    assert rig.results[-1].reasons == ("heartbeat_lost",)
    assert "manager" in rig.gate.state(rig.now).text
    rig.gate.on_heartbeat("manager", rig.now)
    assert rig.run(0.8).mode < Mode.HOLD


# ---- chunks -----------------------------------------------------------------------------------


def spoiled(column: int, value: float) -> Callable[[ActionChunk], ActionChunk]:
    def change(chunk: ActionChunk) -> ActionChunk:
        actions = chunk.actions.copy()
        actions[7, column] = value
        return replace(chunk, actions=actions)

    return change


HARD: dict[str, list[Callable[[ActionChunk], ActionChunk]]] = {
    "chunk_names": [
        lambda c: replace(c, joint_names=JOINTS[:-1]),
        lambda c: replace(c, joint_names=(*JOINTS[:-1], "elbow")),
        lambda c: replace(c, joint_names=(*JOINTS[:-1], JOINTS[0])),
        lambda c: replace(c, joint_names=()),
        lambda c: replace(c, gripper_name="hand"),
    ],
    "chunk_shape": [
        lambda c: replace(c, actions=c.actions[:, :-1]),
        lambda c: replace(c, actions=c.actions[:0]),
        lambda c: replace(c, actions=c.actions.ravel()),
        lambda c: replace(c, actions=np.repeat(c.actions, 100, axis=0)),
        lambda c: replace(c, gripper_name=""),
    ],
    "chunk_time_step": [
        lambda c: replace(c, time_step=0),
        lambda c: replace(c, time_step=-5),
        lambda c: replace(c, time_step=2**62),
    ],
    "chunk_source": [lambda c: replace(c, source_id="")],
    "chunk_not_finite": [spoiled(3, np.nan), spoiled(0, np.inf), spoiled(7, -np.inf)],
    "chunk_position": [spoiled(3, 0.1), spoiled(1, -1.9), spoiled(0, 1e300)],
    "chunk_gripper": [spoiled(7, 1.0), spoiled(7, -0.01)],
    "chunk_velocity": [spoiled(0, 1.0)],
    "chunk_jump": [
        lambda c: replace(c, actions=c.actions + np.array([0.6, 0, 0, 0, 0, 0, 0, 0])),
    ],
    "chunk_malformed": [
        lambda c: replace(c, actions=None),  # type: ignore[arg-type]
        lambda c: replace(c, start_time=float("nan")),  # type: ignore[arg-type]
        lambda c: replace(c, actions=np.full((30, 8), "x")),
    ],
}
HARD_CASES = [
    pytest.param(reason, change, id=f"{reason}{k}")
    for reason, changes in HARD.items()
    for k, change in enumerate(changes)
]


@pytest.mark.parametrize(("reason", "change"), HARD_CASES)
def test_a_hard_fault_drops_the_chunk_and_holds(
    reason: str, change: Callable[[ActionChunk], ActionChunk]
) -> None:
    rig = Rig()
    rig.follow()
    rig.gate.drain_interventions()
    assert not rig.gate.on_chunk(change(rig.chunk()), rig.now)
    result = rig.tick()
    assert (result.mode, result.reasons[0]) == (Mode.HOLD, "chunk_fault")
    found = reasons(rig.gate.drain_interventions())
    if reason == "chunk_malformed":
        assert found[0] in ("chunk_malformed", "chunk_shape")
    else:
        assert found == [reason, "chunk_fault"]
    assert rig.run(1.5).mode is not Mode.HOLD
    rig.check()


def test_three_hard_faults_in_two_seconds_are_a_stop() -> None:
    for pause, expected in ((0.9, Mode.STOP), (1.2, Mode.HOLD)):
        rig = Rig()
        rig.follow()
        for _ in range(3):
            rig.send(joint_names=())
            rig.run(pause)
        assert max(result.mode for result in rig.results) is expected


SOFT: dict[str, Callable[[Rig, ActionChunk], ActionChunk]] = {
    "chunk_stale": lambda rig, c: replace(
        c, observation_stamp=rig.now.ros - nanoseconds(0.51), source_id="policy", number=10**6
    ),
    "chunk_future": lambda rig, c: replace(c, observation_stamp=rig.now.ros + 60 * MILLISECOND),
    "chunk_out_of_order": lambda rig, c: replace(c, number=c.number - 2),
    "chunk_new_source": lambda rig, c: replace(c, source_id="another"),
}


@pytest.mark.parametrize("reason", SOFT)
def test_late_repeated_or_foreign_chunks_are_dropped_and_the_plan_goes_on(reason: str) -> None:
    rig = Rig()
    rig.follow()
    rig.gate.drain_interventions()
    rejected = rig.gate.state(rig.now).chunks_rejected
    chunk = SOFT[reason](rig, rig.chunk())
    if reason == "chunk_stale":
        rig.gate._parts.reception.intake.order._last.clear()
    assert not rig.gate.on_chunk(chunk, rig.now)
    assert rig.tick().mode is Mode.NOMINAL
    assert reasons(rig.gate.drain_interventions()) == [reason]
    assert rig.gate.state(rig.now).chunks_rejected == rejected + 1


def test_a_chunk_whose_rows_are_over_or_far_ahead_is_dropped() -> None:
    rig = Rig()
    rig.follow()
    rig.gate.drain_interventions()
    assert not rig.send(start_time=rig.now.ros - 2 * 10**9)
    assert not rig.send(start_time=rig.now.ros + 2 * 10**9)
    assert reasons(rig.gate.drain_interventions()) == ["chunk_stale", "chunk_future"]


def test_stamps_must_rise_as_well_as_numbers() -> None:
    rig = Rig()
    rig.follow()
    assert rig.send(age=0.0)
    assert not rig.send(age=0.0)
    assert not rig.send(age=0.01)
    rig.pass_time(0.001)
    assert rig.send(age=0.0)


def test_a_new_source_is_accepted_in_hold() -> None:
    rig = Rig()
    rig.follow()
    rig.source, rig.number = "restarted", 0
    assert not rig.send()
    result = rig.run(0.7)
    assert result.mode is Mode.HOLD
    assert rig.run(1.0).mode < Mode.HOLD
    assert rig.gate.state(rig.now).source_id == "restarted"
    rig.check()


def test_any_order_of_joints_is_accepted() -> None:
    rig = Rig()
    rig.follow()
    rig.send_chunks = False
    chunk = rig.chunk()
    order = [6, 0, 5, 1, 4, 2, 3]
    names = tuple(JOINTS[k] for k in order)
    actions = chunk.actions[:, [*order, 7]]
    assert rig.gate.on_chunk(replace(chunk, joint_names=names, actions=actions), rig.now)
    rig.tick()
    assert rig.gate.state(rig.now).plan_deviation < 1e-4


def test_a_plan_that_begins_later_is_followed_from_then_on() -> None:
    rig = Rig()
    rig.follow()
    rig.send_chunks = False
    later = rig.now.ros + 10 * rig.gate.period
    chunk = rig.chunk(age=0.0)
    chunk = replace(chunk, start_time=later, actions=chunk.actions + 0.02 * np.eye(8)[0])
    assert rig.gate.on_chunk(chunk, rig.now)
    numbers = []
    for _ in range(14):
        rig.tick()
        numbers.append(rig.gate.state(rig.now).chunk_number)
    assert numbers[7] == chunk.number - 1
    assert numbers[-1] == chunk.number
    rig.check()


def test_a_single_row_is_a_plan_for_one_step() -> None:
    rig = Rig()
    rig.plan = lambda time: slow_sine(0.0)
    rig.follow()
    rig.send_chunks = False
    assert rig.send(rows=1, age=0.0)
    assert rig.tick().mode is Mode.NOMINAL
    assert rig.run(0.05).reasons == ("plan_ran_out",)


# ---- LIMITED ----------------------------------------------------------------------------------


def test_limited_is_one_record_at_its_begin_and_one_at_its_end() -> None:
    rig = Rig()
    rig.follow()
    rig.gate.drain_interventions()
    rig.plan = lambda time: slow_sine(time) + 0.1
    before = len(rig.results)
    rig.run(2.0)
    records = rig.gate.drain_interventions()
    assert reasons(records) == ["plan_deviation", "plan_deviation"]
    begin, end = records
    assert (begin.kind, begin.mode_before, begin.mode_after) == (
        Kind.BEGIN,
        Mode.NOMINAL,
        Mode.LIMITED,
    )
    assert begin.value == pytest.approx(0.1, abs=0.01)
    assert (end.kind, end.mode_after) == (Kind.END, Mode.NOMINAL)
    limited = [result.mode for result in rig.results[before:]].count(Mode.LIMITED)
    assert abs(end.count - limited) <= 2
    assert end.worst_value >= begin.value
    assert rig.results[-1].mode is Mode.NOMINAL
    rig.check()


def test_up_to_twice_the_limits_is_limited_and_beyond_is_a_fault() -> None:
    # Joint 1 may do 2.175 rad/s and 15 rad/s^2; the plan stops within 0.1 s.
    for speed, accepted in ((1.4, True), (2.5, True), (4.5, False)):
        rig = Rig()
        rig.follow()
        rows = np.tile(rig.position, (30, 1))
        rows[:, 0] += speed * np.arange(30) / 30 * (np.arange(30) < 10) + speed / 3 * (
            np.arange(30) >= 10
        )
        actions = np.hstack((rows, np.full((30, 1), rig.width)))
        rig.send_chunks = False
        assert rig.gate.on_chunk(replace(rig.chunk(), actions=actions), rig.now) is accepted
        rig.run(0.1)
        assert rig.results[-1].mode is (Mode.LIMITED if accepted else Mode.HOLD)
        exceeds = "plan_exceeds_limits" in rig.results[-1].reasons
        assert exceeds is (speed == 2.5)
        rig.check()


def test_noise_is_followed_and_is_no_fault() -> None:
    rig = Rig()
    random = np.random.default_rng(1)
    rig.plan = lambda time: slow_sine(time) + random.uniform(-0.01, 0.01, 7)
    rig.run(4.0)
    assert rig.gate.state(rig.now).chunks_rejected == 0
    assert rig.results[-1].mode < Mode.HOLD
    rig.check()


# ---- gripper ----------------------------------------------------------------------------------


def test_the_gripper_moves_at_its_speed_and_keeps_its_command_in_hold() -> None:
    rig = Rig()
    rig.follow()
    rig.width = 0.0
    rig.run(0.15)
    widths = [result.command.gripper for result in rig.results]
    steps = -np.diff(np.array(widths, dtype=float))
    assert steps.max() == pytest.approx(0.15 * 0.01)
    assert "gripper_rate" in {reason for result in rig.results for reason in result.reasons}
    rig.gate.request_hold(True, rig.now)
    held = rig.tick().command.gripper
    assert held is not None
    assert 0.0 < held < 0.05
    assert rig.run(1.0).command.gripper == held


# ---- STOP and ESTOP ---------------------------------------------------------------------------


def test_tracking_error_is_a_stop_and_reset_rebases_within_the_limits() -> None:
    rig = Rig()
    rig.follow()
    blocked = rig.position.copy()
    blocked[2] -= 0.25
    rig.offset = blocked - rig.position
    result = rig.tick()
    assert result.mode is Mode.STOP
    assert "tracking_error" in result.reasons
    # The arm stands where it was blocked, whatever is commanded.
    rig.send_joints = False
    for k in range(200):
        rig.pass_time(0.01)
        rig.gate.on_joint_state(
            JointState(rig.now.ros, blocked, np.zeros(7), np.zeros(0), 0.05), rig.now
        )
        if k == 100:
            done, message = rig.gate.request_reset(rig.now)
            assert done, message
            assert "re-basing the command by" in message
        rig.results.append(rig.gate.tick(rig.now))
        assert rig.results[-1].mode is (Mode.STOP if k < 100 else Mode.HOLD)
    np.testing.assert_allclose(rig.results[-1].command.positions, blocked, atol=1e-6)
    assert "rebasing" not in rig.results[-1].reasons
    rig.check()


def test_an_arm_that_leaves_while_it_is_rebased_is_a_stop_again() -> None:
    rig = Rig()
    rig.follow()
    rig.gate.request_stop(rig.now)
    rig.come_to_rest()
    assert rig.gate.request_reset(rig.now)[0]
    rig.offset = np.full(7, 0.3)
    assert rig.tick().mode is Mode.STOP


def test_stop_is_latched_until_reset_and_then_a_hold() -> None:
    rig = Rig()
    rig.follow()
    assert rig.gate.request_stop(rig.now)[0]
    assert rig.tick().mode is Mode.STOP
    assert rig.gate.request_reset(rig.now) == (
        False,
        "reset refused: the arm is still stopping: wait",
    )
    assert rig.run(2.0).mode is Mode.STOP
    assert rig.gate.at_rest
    done, _ = rig.gate.request_reset(rig.now)
    assert done
    assert rig.tick().mode is Mode.HOLD
    assert rig.run(1.5).mode < Mode.HOLD
    rig.check()


def test_estop_that_lasts_refuses_the_reset() -> None:
    rig = Rig()
    rig.follow()
    rig.gate.request_estop(rig.now, lasts=True)
    assert rig.run(1.0).mode is Mode.ESTOP
    done, message = rig.gate.request_reset(rig.now)
    assert not done
    assert "still pressed" in message
    rig.gate.release_estop(rig.now)
    assert rig.run(0.1).mode is Mode.ESTOP
    assert rig.gate.request_reset(rig.now)[0]
    assert rig.run(1.5).mode < Mode.HOLD


def test_reset_is_refused_where_nothing_is_latched_or_the_arm_moves() -> None:
    rig = Rig()
    rig.follow()
    assert "nothing is latched" in rig.gate.request_reset(rig.now)[1]
    rig.gate.request_stop(rig.now)
    rig.come_to_rest()
    rig.gate.on_joint_state(replace(rig.joints(), velocities=np.full(7, 0.3)), rig.now)
    assert "moves at 0.3 rad/s" in rig.gate.request_reset(rig.now)[1]
    rig.gate.on_joint_state(replace(rig.joints(), positions=MIDDLE + 2), rig.now)
    assert "outside" in rig.gate.request_reset(rig.now)[1]


def test_the_most_restrictive_cause_wins_and_comes_first() -> None:
    rig = Rig()
    rig.follow()
    rig.gate.request_hold(True, rig.now)
    rig.gate.request_stop(rig.now)
    rig.gate.request_estop(rig.now)
    result = rig.tick()
    assert result.mode is Mode.ESTOP
    assert result.reasons == ("estop_requested", "stop_requested", "hold_requested")


class BreakingConfig(GateConfig):
    """Once broken, raises wherever a part of the gate looks into it."""

    broken = False

    def __getattribute__(self, name: str) -> object:
        if type(self).broken:
            raise RuntimeError("broken")
        return GateConfig.__getattribute__(self, name)


@pytest.mark.parametrize("place", ["plans", "robot", "tick", "follower", "judge"])
def test_an_exception_of_its_own_is_an_estop_and_the_stop_goes_on(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig()
    rig.follow()
    rig.gate.drain_interventions()
    if place == "tick":
        rig.gate._parts.config = BreakingConfig()
    else:
        getattr(rig.gate._parts, place).retune(BreakingConfig())
    monkeypatch.setattr(BreakingConfig, "broken", True)
    assert rig.tick().mode is Mode.ESTOP
    rig.come_to_rest()
    rig.check()
    assert "internal_error" in reasons(rig.gate.drain_interventions())
    monkeypatch.undo()
    assert rig.tick().mode is Mode.ESTOP
    assert "configure it anew" in rig.gate.request_reset(rig.now)[1]


def test_shutdown_finishes_the_stop_by_ticking_on() -> None:
    rig = Rig()
    rig.follow()
    rig.gate.begin_shutdown(rig.now)
    assert not rig.gate.at_rest
    rig.come_to_rest()
    assert rig.run(2.0).reasons == ("shutdown",)
    rig.gate.deactivate()
    assert rig.gate.state(rig.now).mode is Mode.INACTIVE
    assert not rig.send()
    rig.check()


# ---- clocks -----------------------------------------------------------------------------------


def test_a_late_tick_sends_the_next_sample_and_is_counted() -> None:
    rig = Rig()
    rig.follow()
    for _ in range(20):
        result = rig.tick(after=0.02)
        assert result.late
        rig.run(0.1)
    assert rig.gate.state(rig.now).missed_deadlines == 20
    assert rig.results[-1].mode is Mode.NOMINAL
    # The plan's time is slewed: what late ticks lost is made good again.
    rig.run(3.0)
    assert abs(rig.results[-1].lag) < 0.015e9
    assert rig.gate.state(rig.now).plan_deviation < 1e-4
    rig.check()


def test_a_long_gap_is_a_hold_and_the_plan_goes_on_from_now() -> None:
    rig = Rig()
    rig.follow()
    rig.tick(after=0.4)
    assert rig.results[-1].reasons[0] in ("clock_lag", "joint_state_stale", "plan_stale")
    assert rig.run(1.5).mode < Mode.HOLD
    assert abs(rig.results[-1].lag) < 0.015e9
    rig.check()


@pytest.mark.parametrize("jump", [-3600.0, -1.0, -0.2, 0.2, 1.0, 3600.0])
def test_a_jump_of_the_ros_clock_neither_locks_out_nor_jumps_in(jump: float) -> None:
    rig = Rig()
    rig.follow()
    in_flight = rig.chunk()
    step = nanoseconds(jump)
    rig.now = Instant(rig.now.ros + step, rig.now.steady)
    rig.began += step
    rig.gate.drain_interventions()
    assert rig.gate.on_chunk(in_flight, rig.now) is False
    assert reasons(rig.gate.drain_interventions())[0] == "clock_jump"
    result = rig.tick()
    assert result.mode is Mode.NOMINAL
    assert result.command.stamp == rig.results[-2].command.stamp + rig.gate.period
    assert rig.run(2.0).mode is Mode.NOMINAL
    assert all(result.mode is Mode.NOMINAL for result in rig.results[-200:])
    rig.check()


@pytest.mark.parametrize("jump", [-1.0, 1.0])
def test_a_jump_makes_no_joint_state_stale(jump: float) -> None:
    rig = Rig()
    rig.follow()
    rig.send_joints = False
    rig.now = Instant(rig.now.ros + nanoseconds(jump), rig.now.steady)
    assert rig.tick().mode is Mode.NOMINAL
    rig.run(0.1)
    assert "joint_state_stale" in rig.results[-1].reasons


def test_a_message_that_is_no_chunk_is_a_hard_fault() -> None:
    rig = Rig()
    rig.follow()
    rig.gate.drain_interventions()
    rig.gate.on_malformed_chunk("policy", 7, "actions have no rows", rig.now)
    assert rig.tick().mode is Mode.HOLD
    record = rig.gate.drain_interventions()[0]
    assert (record.reason, record.chunk_number) == ("chunk_malformed", 7)
    assert rig.gate.plan_id == ("policy", rig.number)


def test_ages_are_judged_on_the_steady_clock_too() -> None:
    rig = Rig()
    rig.follow()
    rig.send_chunks = False
    # The ROS clock stands still: by stamps nothing ever gets older.
    for _ in range(80):
        rig.now = Instant(rig.now.ros, rig.now.steady + rig.gate.period)
        rig.gate.on_joint_state(rig.joints(), rig.now)
        rig.results.append(rig.gate.tick(rig.now))
    assert "plan_stale" in rig.results[-1].reasons
    rig.check()


# ---- reports ----------------------------------------------------------------------------------


def test_every_cause_and_mode_has_a_text() -> None:
    assert set(MODE_TEXTS) == set(Mode)
    for name, kind in CAUSES.items():
        assert kind.text
        assert Cause(name, "detail").text.endswith(": detail")


def test_modes_have_the_numbers_of_the_message() -> None:
    text = (CONFIG.parent / "msg" / "SupervisorState.msg").read_text()
    for mode in Mode:
        assert f"MODE_{mode.name}={int(mode)}" in text
    text = (CONFIG.parent / "msg" / "Intervention.msg").read_text()
    for kind in Kind:
        assert f"KIND_{kind.name}={int(kind)}" in text


def test_each_change_of_mode_is_recorded_once() -> None:
    rig = Rig()
    rig.follow()
    rig.gate.request_stop(rig.now)
    rig.run(1.0)
    rig.gate.request_reset(rig.now)
    rig.run(1.5)
    records = rig.gate.drain_interventions()
    changes = [(r.mode_before, r.mode_after) for r in records if r.kind is Kind.EVENT]
    assert changes == [
        (Mode.HOLD, Mode.NOMINAL),
        (Mode.NOMINAL, Mode.STOP),
        (Mode.STOP, Mode.HOLD),
        (Mode.HOLD, Mode.NOMINAL),
    ]
    assert rig.gate.state(rig.now).interventions == records[-1].sequence


def test_the_queue_never_grows_without_end_and_says_what_it_left_out() -> None:
    queue = InterventionQueue(10)
    now = Instant(0, 0)
    for k in range(100):
        queue.record(now, Mode.HOLD, Mode.HOLD, Kind.EVENT, "chunk_stale", str(k))
    first = queue.drain()
    queue.record(now, Mode.HOLD, Mode.HOLD, Kind.EVENT, "chunk_stale", "after")
    second = queue.drain()
    assert len(first) == 9
    assert [r.reason for r in second] == ["interventions_left_out", "chunk_stale"]
    assert second[0].count == 91
    assert [r.sequence for r in first + second] == list(range(1, 12))
    assert queue.left_out_total == 91


def test_state_mirrors_the_message() -> None:
    rig = Rig()
    rig.follow()
    state = rig.gate.state(rig.now)
    assert state.source_id == "policy"
    assert state.chunk_number == rig.number
    assert 0 < state.observation_age < 0.2
    assert 0 <= state.tracking_error < 0.01
    assert state.plan_step >= 0
    assert state.commands_sent == len(rig.results)
    assert state.chunks_accepted == rig.number
    text = (CONFIG.parent / "msg" / "SupervisorState.msg").read_text()
    fields = [
        line.split()[1]
        for line in text.splitlines()
        if line and line[0] not in "#" and "=" not in line
    ]
    of_the_node = {"header", "realtime", "journal_sequence", "journal_hash"}
    assert set(fields) - of_the_node <= set(type(state).__slots__)


def test_rows_that_are_over_are_not_held_against_a_plan() -> None:
    """After a HOLD a plan begins with rows of the old one, which the arm never followed."""
    rig = Rig()
    chunk = rig.chunk(rows=30, age=0.1)
    leap = chunk.actions.copy()
    leap[:3, :7] += 0.4  # beyond twice the velocity limit, between rows 2 and 3, 0.1 s ago
    assert rig.gate.on_chunk(replace(chunk, actions=leap), rig.now)
    ahead = rig.chunk(rows=30, age=0.1)
    leap = ahead.actions.copy()
    leap[10:, :7] += 0.4
    assert not rig.gate.on_chunk(replace(ahead, actions=leap), rig.now)
