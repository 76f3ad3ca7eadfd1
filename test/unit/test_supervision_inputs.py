"""Plans of a policy of someone else's: trajectories and single targets pass the same checks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_supervision_gate import JOINTS, Rig, reasons, slow_sine
from test_supervision_workspace import spaced, sweep, tool_at

from salus_ros.interfaces import JointState, nanoseconds
from salus_ros.supervision.adapters import FLOAT64_MULTI_ARRAY, INTERPOLATION, check_adapter
from salus_ros.supervision.errors import LimitsError
from salus_ros.supervision.modes import Mode
from salus_ros.supervision.target_stream import TargetStream
from salus_ros.supervision.trajectory_plan import Waypoints, chunk_from_waypoints
from salus_ros.supervision.workspace import Box

# ---- trajectories -----------------------------------------------------------------------------


class TrajectoryRig(Rig):
    """Sends trajectories of points `gap` seconds apart, with or without velocities."""

    gap: float = 0.1
    with_velocities: bool = True

    def points(self, **changes: Any) -> Waypoints:
        began = (self.now.ros - self.began) * 1e-9
        times = np.arange(0.0, 0.9, self.gap)
        positions = np.array([self.plan(began + time) for time in times])
        ahead = np.array([self.plan(began + time + 1e-4) for time in times])
        velocities = (ahead - positions) / 1e-4 if self.with_velocities else None
        return replace(Waypoints(self.now.ros, JOINTS, times, positions, velocities), **changes)

    def send(self, **changes: Any) -> bool:
        self.number += 1
        chunk = chunk_from_waypoints(
            self.points(**changes), self.number, self.now.ros, "panda_gripper", 1000, "trajectory"
        )
        return self.gate.on_chunk(chunk, self.now)


@pytest.mark.parametrize("with_velocities", [True, False])
@pytest.mark.parametrize("gap", [0.0123, 1 / 30, 0.1])
def test_a_trajectory_is_followed(gap: float, with_velocities: bool) -> None:
    rig = TrajectoryRig()
    rig.gap, rig.with_velocities = gap, with_velocities
    rig.follow()
    rig.run(1.0)
    now = (rig.now.ros - rig.began) * 1e-9
    bound = 2e-3 if with_velocities else 8e-3
    assert np.abs(rig.position - slow_sine(now)).max() < bound
    rig.check()


def waypoints(**changes: Any) -> Waypoints:
    times = np.array([0.0, 0.1, 0.2])
    return replace(Waypoints(0, JOINTS, times, np.zeros((3, 7)), None), **changes)


def chunk(points: Waypoints, rows_max: int = 1000) -> Any:
    return chunk_from_waypoints(points, 1, 5_000_000_000, "panda_gripper", rows_max, "trajectory")


def test_a_stamp_of_zero_begins_at_the_arrival_and_a_first_time_later() -> None:
    assert chunk(waypoints()).start_time == 5_000_000_000
    late = chunk(waypoints(stamp=7, times=np.array([0.5, 0.6, 0.7])))
    assert (late.observation_stamp, late.start_time) == (7, 500_000_007)


def test_points_evenly_spaced_are_the_rows_themselves() -> None:
    positions = np.random.default_rng(1).normal(size=(5, 7))
    found = chunk(waypoints(times=np.arange(5) * 0.02, positions=positions))
    np.testing.assert_array_equal(found.actions, positions)
    assert found.time_step == nanoseconds(0.02)


def test_a_column_of_the_grippers_name_is_its_width() -> None:
    names = (*JOINTS[:3], "panda_gripper", *JOINTS[3:])
    found = chunk(waypoints(names=names, positions=np.tile(np.arange(8.0), (3, 1))))
    assert found.gripper_name == "panda_gripper"
    assert found.joint_names == JOINTS
    np.testing.assert_allclose(found.actions[0], [0, 1, 2, 4, 5, 6, 7, 3])


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ([0.0, 0.1, 0.1], "rise"),
        ([0.0, 0.2, 0.1], "rise"),
        ([-0.1, 0.0, 0.1], "positive"),
        ([0.0, 0.1, 3600.0], "lasts 3.6e"),
    ],
)
def test_times_that_make_no_plan_are_refused(times: list[float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        chunk(waypoints(times=np.array(times)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"names": ("other", *JOINTS[1:])}, "chunk_names"),
        ({"positions": np.full((9, 7), np.nan)}, "chunk_not_finite"),
        ({"velocities": np.full((9, 7), np.inf)}, "chunk_not_finite"),
        ({"positions": np.full((9, 7), 9.0)}, "chunk_position"),
        ({"stamp": 1}, "chunk_out_of_order"),
        ({"stamp": 10**18}, "chunk_future"),
    ],
)
def test_bad_trajectories_are_dropped_for_the_same_reasons(
    changes: dict[str, Any], reason: str
) -> None:
    rig = TrajectoryRig()
    rig.follow()
    rig.gate.drain_interventions()
    with np.errstate(invalid="ignore"):
        assert not rig.send(**changes)
    assert reasons(rig.gate.drain_interventions()) == [reason]
    rig.tick()
    rig.check()


# ---- single targets ---------------------------------------------------------------------------


class TargetRig(Rig):
    """Sends one target every 0.02 s."""

    with_velocities: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.stream = TargetStream(self.limits, 0.1, "targets")

    def target(self, **changes: Any) -> JointState:
        time = (self.now.ros - self.began) * 1e-9
        position = self.plan(time)
        velocity = (self.plan(time + 1e-4) - position) / 1e-4
        given = velocity if self.with_velocities else np.empty(0)
        return replace(JointState(self.now.ros, position, given, np.empty(0), None), **changes)

    def send(self, **changes: Any) -> bool:
        return self.gate.on_chunk(self.stream.chunk(self.target(**changes)), self.now)

    def run(self, seconds: float) -> Any:
        for k in range(round(seconds * self.config.rate)):
            if self.send_chunks and k % 2 == 0:
                self.send()
            result = self.tick()
        return result


@pytest.mark.parametrize("with_velocities", [True, False])
def test_a_stream_of_targets_is_followed_without_falling_behind(with_velocities: bool) -> None:
    rig = TargetRig()
    rig.with_velocities = with_velocities
    rig.follow()
    rig.run(1.0)
    time = (rig.now.ros - rig.began) * 1e-9
    assert np.abs(rig.position - slow_sine(time)).max() < 3e-3
    rig.check()


def test_a_stream_that_ends_is_a_hold_after_its_staleness_bound() -> None:
    rig = TargetRig()
    rig.follow()
    rig.send_chunks = False
    modes = [rig.tick().mode for _ in range(14)]
    assert modes[6] <= Mode.LIMITED
    assert modes[-1] is Mode.HOLD
    assert rig.results[-1].reasons == ("plan_ran_out",)
    rig.come_to_rest()
    rig.check()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"positions": np.full(7, np.nan)}, "chunk_not_finite"),
        ({"velocities": np.full(7, np.nan)}, "chunk_not_finite"),
        ({"positions": np.full(7, 9.0)}, "chunk_position"),
        ({"stamp": 0}, "chunk_out_of_order"),
        ({"stamp": 10**18}, "chunk_future"),
    ],
)
def test_bad_targets_are_dropped_for_the_same_reasons(changes: dict[str, Any], reason: str) -> None:
    rig = TargetRig()
    rig.with_velocities = True
    rig.follow()
    rig.gate.drain_interventions()
    before = rig.target()
    assert not rig.send(**changes)
    found = reasons(rig.gate.drain_interventions())
    assert found == [reason], before
    rig.tick()
    rig.check()


def test_what_a_target_is_continued_by_stays_inside_limits_and_workspace() -> None:
    side = float(tool_at(sweep(0.1)(2.0))[1])
    limits = spaced(Box("box", (-2, -2, -2), (2, side, 2)))
    stream = TargetStream(limits, 0.1, "targets")
    near = np.array(sweep(0.1)(1.99))
    fast = JointState(5, near, np.eye(7)[0], np.empty(0), None)
    rows = stream.chunk(fast).actions
    np.testing.assert_array_equal(rows, np.repeat(near[None], len(rows), axis=0))
    top = np.array(limits.arm.upper)
    limit = replace(fast, positions=top, velocities=np.ones(7))
    np.testing.assert_array_equal(stream.chunk(limit).actions[-1], top)


# ---- adapters ---------------------------------------------------------------------------------


def test_bare_positions_need_the_controllers_own_rate() -> None:
    check_adapter(FLOAT64_MULTI_ARRAY, 1000.0, 1000.0)
    for controller in (0.0, 1000.0):
        with pytest.raises(LimitsError, match="staircase"):
            check_adapter(FLOAT64_MULTI_ARRAY, 100.0, controller)
    for name in INTERPOLATION:
        if name != FLOAT64_MULTI_ARRAY:
            check_adapter(name, 100.0, 0.0)
