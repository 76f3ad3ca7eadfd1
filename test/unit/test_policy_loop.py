"""The loop: what is published, when the next inference starts, and what goes wrong."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from salus_ros.interfaces import ActionDistribution, Instant, JointState, Observation, nanoseconds
from salus_ros.policy.backend import PolicyError, Prediction
from salus_ros.policy.chunk_queue import QueueConfig
from salus_ros.policy.loop import InferenceLoop, LoopConfig

MS = 1_000_000
STEP = 50 * MS
JOINTS = JointState(0, np.zeros(1), np.zeros(1), np.empty(0))


class Clock:
    def __init__(self):
        self.now = 0
        self.ahead = 0  # Of the ROS clock, which may be set.

    def __call__(self):
        return Instant(self.now + self.ahead, self.now)


class FakePolicy:
    """Takes `latency` on the clock, and does what `script` says."""

    cameras = ()
    privileged = False

    def __init__(self, clock, latency=0):
        self.clock, self.latency = clock, latency
        self.resets = 0
        self.error = ""
        self.during = lambda: None

    def warm_up(self):
        pass

    def reset(self):
        self.resets += 1

    def predict(self, observation):
        self.clock.now += self.latency
        self.during()
        if self.error:
            raise PolicyError(self.error)
        return Prediction(
            np.full((40, 1), observation.stamp / MS),
            STEP,
            latent=np.ones(4, np.float32),
            distribution=ActionDistribution(8, 0.5, 0.5),
            stage_seconds={"expert": 0.01},
        )


@pytest.fixture
def clock():
    return Clock()


def make(clock, latency=0, horizon=20, **options):
    ids = (f"id{n}" for n in itertools.count(1))
    policy = FakePolicy(clock, latency)
    loop = InferenceLoop(
        policy,
        QueueConfig(("j",), execution_horizon=horizon),
        clock,
        LoopConfig(**options),
        lambda: next(ids),
    )
    return loop, policy


def see(clock, instruction="pick", age=0):
    return Observation(clock().ros - age, JOINTS, instruction)


def test_plan_and_state_belong_together(clock):
    loop, _ = make(clock, latency=120 * MS)
    outcome = loop.run(see(clock, age=10 * MS))
    chunk, state = outcome.plan.chunk, outcome.state
    assert outcome.error == ""
    assert (chunk.source_id, chunk.number) == (state.source_id, state.chunk_number) == ("id1", 1)
    assert chunk.observation_stamp == state.observation_stamp == -10 * MS
    assert (state.instruction, state.stage_seconds) == ("pick", {"expert": 0.01})
    assert state.latent.tolist() == [1.0] * 4 and state.distribution.samples == 8
    # Rows due at -10, 40 and 90 ms passed before the chunk came at 120 ms.
    assert state.inference_delay_steps == 3


def test_numbers_rise_and_each_activation_has_its_own_id(clock):
    loop, _ = make(clock)
    numbers = []
    for _ in range(3):
        clock.now += STEP
        numbers.append(loop.run(see(clock)).plan.chunk.number)
    assert numbers == [1, 2, 3]
    assert loop.activate() == "id2" == loop.source_id
    clock.now += STEP
    chunk = loop.run(see(clock)).plan.chunk
    assert (chunk.source_id, chunk.number) == ("id2", 1)
    assert loop.statistics.chunks == 1


def test_the_next_inference_starts_before_the_horizon_is_executed(clock):
    loop, policy = make(clock, latency=200 * MS, horizon=20)
    assert loop.wait_seconds(clock()) == 0.0
    loop.run(see(clock))  # The warm-up, which tells nothing about latency.
    assert loop.wait_seconds(clock()) == 0.0
    loop.run(see(clock))
    # 20 rows of 50 ms, less 200 ms of latency and one row of margin.
    assert loop.wait_seconds(clock()) == pytest.approx(1.0 - 0.2 - 0.05, abs=0.05)
    policy.latency = 600 * MS
    clock.now += 750 * MS
    loop.run(see(clock))
    assert loop.wait_seconds(clock()) == pytest.approx(1.0 - 0.6 - 0.05, abs=0.05)
    assert loop.statistics.latency == 0.6


def test_the_end_of_the_plan_counts_where_the_horizon_is_longer(clock):
    loop, _ = make(clock, latency=200 * MS, horizon=1000)
    loop.run(see(clock))
    loop.run(see(clock))
    # Row 39 is due 1950 ms after the observation, made 200 ms ago.
    assert loop.remaining_seconds(clock()) == pytest.approx(1.75, abs=0.05)
    assert loop.wait_seconds(clock()) == pytest.approx(1.75 - 0.2 - 0.05, abs=0.05)


def test_an_observation_is_used_once(clock):
    loop, _ = make(clock)
    observation = see(clock)
    assert loop.run(observation).plan is not None
    again = loop.run(observation)
    assert again.plan is None and again.error == ""
    assert loop.statistics.chunks == 1 and loop.statistics.errors == 0


def test_errors_are_counted_said_in_one_line_and_publish_nothing(clock):
    loop, policy = make(clock, latency=10 * MS, retry_seconds=0.5)
    loop.run(see(clock))
    policy.error = "no image\nof the wrist camera"
    outcome = loop.run(see(clock))
    assert outcome.plan is None and outcome.state is None
    assert outcome.error == "no image of the wrist camera"
    statistics = loop.statistics
    assert (statistics.errors, statistics.chunks) == (1, 1)
    assert statistics.last_error == outcome.error
    assert loop.wait_seconds(clock()) == pytest.approx(0.5)  # No busy loop of failures.
    policy.error = ""
    clock.now += nanoseconds(0.5)
    assert loop.run(see(clock)).plan.chunk.number == 2


def test_a_prediction_that_cannot_be_executed_is_an_error_too(clock):
    loop, policy = make(clock, latency=nanoseconds(5.0))
    outcome = loop.run(see(clock))
    assert "use longer chunks" in outcome.error
    assert loop.statistics.errors == 1
    policy.latency = 0
    assert loop.run(see(clock)).plan.chunk.number == 1


def test_any_other_exception_is_the_backends_fault_and_passed_on(clock):
    loop, policy = make(clock)

    def fail():
        raise RuntimeError("CUDA error")

    policy.during = fail
    with pytest.raises(RuntimeError, match="CUDA error"):
        loop.run(see(clock))


def test_a_new_instruction_resets_the_policy_and_is_not_merged_with_the_old_plan(clock):
    policy = FakePolicy(clock)
    queue = QueueConfig(("j",), merging="conservative")
    loop = InferenceLoop(policy, queue, clock)
    loop.run(see(clock, "pick"))
    clock.now = 4 * STEP
    policy.error = "busy"
    loop.run(see(clock, "reach"))
    policy.error = ""
    clock.now = 8 * STEP
    rows = loop.run(see(clock, "reach")).plan.chunk.actions[:, 0]
    # Though the first try failed: two rows of the old plan, then the new one alone.
    assert rows.tolist() == [0.0] * 2 + [400.0] * 40
    assert policy.resets == 2


def test_a_reset_during_inference_voids_its_result(clock):
    loop, policy = make(clock)
    loop.run(see(clock))
    clock.now = STEP
    policy.during = loop.reset
    outcome = loop.run(see(clock))
    assert outcome.plan is None and outcome.error == ""
    assert loop.statistics.discarded == 1
    policy.during = lambda: None
    clock.now = 2 * STEP
    chunk = loop.run(see(clock)).plan.chunk
    assert (chunk.source_id, chunk.number, chunk.start_time) == ("id1", 2, 2 * STEP)
    assert policy.resets == 2  # At the first inference of each episode.


def test_a_clock_set_back_begins_a_new_source(clock):
    loop, _ = make(clock)
    clock.ahead = nanoseconds(1000.0)
    loop.run(see(clock))
    clock.ahead = 0
    clock.now += STEP
    chunk = loop.run(see(clock)).plan.chunk
    assert (chunk.source_id, chunk.number) == ("id2", 1)
    # A message that was merely overtaken does not.
    assert loop.run(see(clock, age=30 * MS)).plan is None
    assert loop.source_id == "id2"


def test_running_dry_is_counted(clock):
    loop, _ = make(clock)
    loop.run(see(clock))
    clock.now = 39 * STEP
    loop.run(see(clock))
    assert loop.statistics.dry == 0
    clock.now += 39 * STEP + 1
    loop.run(see(clock))
    assert loop.statistics.dry == 1


def test_nobody_waits_for_the_policy(clock):
    loop, policy = make(clock)
    asked = []

    def ask():
        thread = threading.Thread(
            target=lambda: asked.append((loop.wait_seconds(clock()), loop.statistics.chunks))
        )
        thread.start()
        thread.join(timeout=10.0)

    policy.during = ask
    loop.run(see(clock))
    assert asked == [(0.0, 0)]


def test_the_states_latent_is_a_copy(clock):
    loop, policy = make(clock)
    latent = np.ones(4, np.float32)
    policy.predict = lambda _: Prediction(np.zeros((9, 1)), STEP, latent=latent)
    state = loop.run(see(clock)).state
    latent[:] = 7.0
    assert state.latent.tolist() == [1.0] * 4
