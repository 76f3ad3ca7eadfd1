"""Whatever latencies and observations do: plans are whole, in order, and never run dry."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_ros.interfaces import Instant, JointState, Observation
from salus_ros.policy.backend import Prediction
from salus_ros.policy.chunk_queue import QueueConfig
from salus_ros.policy.loop import InferenceLoop, LoopConfig
from salus_ros.policy.merging import MERGING_MODES, RTC_SCHEDULES

MS = 1_000_000
STEP = 33_333_333
ROWS = 40
JOINTS = JointState(0, np.zeros(1), np.zeros(1), np.empty(0))


class Curve:
    """Predicts a smooth curve of time, so that any misplaced row shows, after some latency."""

    cameras = ()
    privileged = False

    def __init__(self):
        self.now = 0
        self.latency = 0

    def clock(self):
        return Instant(self.now, self.now)

    def warm_up(self):
        pass

    def reset(self):
        pass

    def predict(self, observation):
        self.now += self.latency
        times = observation.stamp + STEP * np.arange(ROWS)
        return Prediction(curve(times), STEP)


def curve(times):
    """[rows, 2]: radians of a lively joint, and a gripper that stands still."""
    at = np.asarray(times) / 1e9
    return np.stack([np.sin(2.0 * at), np.full(at.shape, 0.04)], axis=1)


def make(mode, schedule, policy, horizon):
    queue = QueueConfig(("j",), "g", execution_horizon=horizon, merging=mode, rtc_schedule=schedule)
    return InferenceLoop(policy, queue, policy.clock, LoopConfig(), lambda: "source")


def times_of(chunk):
    return chunk.start_time + chunk.time_step * np.arange(len(chunk.actions))


MODES = st.sampled_from(MERGING_MODES)
SCHEDULES = st.sampled_from(RTC_SCHEDULES)


@settings(max_examples=150, deadline=None)
@given(
    MODES,
    SCHEDULES,
    st.integers(1, 60),
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 100), st.integers(0, 1500)),
        min_size=2,
        max_size=15,
    ),
)
def test_every_plan_is_whole_and_lies_on_one_grid(mode, schedule, horizon, inferences):
    """Latency, age of the observation and pause between inferences are anything [ms]."""
    policy = Curve()
    loop = make(mode, schedule, policy, horizon)
    number, anchor = 0, None
    for latency, age, pause in inferences:
        policy.now += pause * MS
        policy.latency = latency * MS
        plan = loop.run(Observation(policy.now - age * MS, JOINTS, "pick")).plan
        if plan is None:
            continue
        chunk, number = plan.chunk, number + 1
        anchor = chunk.start_time if anchor is None else anchor
        assert chunk.number == number
        assert (chunk.start_time - anchor) % STEP == 0
        assert np.isfinite(chunk.actions).all()
        # All merge the same curve, so any row that was padded, shifted or repeated shows.
        np.testing.assert_allclose(chunk.actions, curve(times_of(chunk)), atol=2e-5)
        ahead = int((times_of(chunk) >= policy.now).sum())
        assert 1 <= chunk.execution_horizon <= ahead
        assert len(chunk.actions) - ahead <= 2
        assert 0 <= chunk.first_fresh_step < len(chunk.actions)
        origins = [plan.origin(r) for r in range(len(chunk.actions))]
        assert [o.chunk_number == number for o in origins] == [
            r >= chunk.first_fresh_step for r in range(len(origins))
        ]
        for time, origin in zip(times_of(chunk), origins, strict=True):
            assert 0 <= origin.step < ROWS
            assert time - origin.observation_stamp == round(origin.staleness_seconds * 1e9)


@settings(max_examples=150, deadline=None)
@given(
    MODES,
    SCHEDULES,
    st.integers(1, 60),
    st.integers(5, 350),
    st.lists(st.tuples(st.floats(0.3, 1.0), st.integers(0, 40), st.integers(0, 30)), min_size=3),
)
def test_the_plan_never_runs_dry_while_latency_is_as_estimated(
    mode, schedule, horizon, worst, inferences
):
    """Latencies up to the worst seen [ms], observations up to 40 ms old, up to 30 ms late."""
    policy = Curve()
    loop = make(mode, schedule, policy, horizon)
    policy.latency = worst * MS
    loop.run(Observation(policy.now, JOINTS, "pick"))
    loop.run(Observation(policy.now, JOINTS, "pick"))
    for share, age, late in inferences:
        policy.now += round(1e9 * loop.wait_seconds(policy.clock())) + late * MS
        # 95 % would do; so that the estimate is never below what comes, the worst comes often.
        policy.latency = worst * MS if share > 0.6 else round(share * worst * MS)
        policy.latency = min(policy.latency, round(1e9 * loop.statistics.latency))
        stamp = policy.now - age * MS
        loop.run(Observation(stamp, JOINTS, "pick"))
        assert loop.statistics.dry == 0
        assert loop.statistics.errors == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 38), st.integers(0, 200), st.lists(st.integers(0, 33), min_size=4))
def test_the_next_chunk_comes_before_the_horizon_is_executed(horizon, latency, late):
    """Up to the margin of one step late, wherever there is time for it at all."""
    policy = Curve()
    loop = make("latest", "exp", policy, horizon)
    policy.latency = latency * MS
    loop.run(Observation(policy.now, JOINTS, "pick"))
    plan = loop.run(Observation(policy.now + 1, JOINTS, "pick")).plan.chunk
    for delay in late:
        wait = round(1e9 * loop.wait_seconds(policy.clock()))
        policy.now += wait + (delay * MS if wait else 0)
        first_ahead = times_of(plan)[times_of(plan) >= policy.now - wait][0]
        end = first_ahead + plan.execution_horizon * STEP
        chunk = loop.run(Observation(policy.now + 1, JOINTS, "pick")).plan
        if chunk is None:
            return
        if wait:
            assert policy.now <= end
        plan = chunk.chunk
