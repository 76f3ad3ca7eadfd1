"""From topics to signals: what belongs together is put together, late and unordered as it comes."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.interfaces import (
    ActionChunk,
    ActionDistribution,
    JointState,
    PolicyState,
    nanoseconds,
)
from salus_ros.signals.calibration import Calibration, fit_latents
from salus_ros.signals.config import SignalConfig
from salus_ros.signals.layout import (
    ALL_VALID,
    ENTROPY,
    LATENT_DRIFT,
    MARGIN,
    MISMATCH,
    VOLATILITY,
    SignalError,
    has,
)
from salus_ros.signals.monitor import WAITING_STATES, SignalMonitor

MS = 1_000_000
STEP = 100 * MS


def chunk(number, start, source="a", rows=10, dims=3):
    return ActionChunk(
        source,
        number,
        ("j1", "j2"),
        "g",
        start,
        STEP,
        np.random.default_rng(number).normal(size=(rows, dims)),
        0,
        5,
        start,
    )


def state(number, latent, source="a", instruction="pick"):
    h = np.array(latent, np.float32)
    distribution = ActionDistribution(8, number / 100, 0.5)
    return PolicyState(source, number, 0, instruction, h, distribution, (), {}, 0)


def joints(stamp, q):
    return JointState(stamp, np.array(q, float), np.zeros(2), np.empty(0))


@pytest.fixture
def monitor():
    config = SignalConfig(3, joint_low=-np.ones(2), joint_high=np.ones(2))
    return SignalMonitor(config, Calibration("panda", lag_seconds=np.array([0.1, 0.1])))


def entropy(steps):
    return [round(float(s.signals.values[ENTROPY]), 3) for s in steps]


def test_everything_there_everything_valid():
    mean, whitening = fit_latents(np.random.default_rng(0).normal(size=(50, 4)), 3)
    monitor = SignalMonitor(
        SignalConfig(3, joint_low=-np.ones(2), joint_high=np.ones(2)),
        Calibration("panda", mean, whitening, lag_seconds=np.array([0.1, 0.1])),
    )
    for number in (1, 2):
        start = (number - 1) * 5 * STEP
        monitor.on_policy_state(state(number, [number, 1.0, 0.0, 0.0]))
        assert monitor.on_chunk(chunk(number, start), start) == ""
        for tick in range(5):
            now = start + tick * STEP
            monitor.on_joint_state(joints(now, [0.1, 0.2]))
            monitor.on_command(now, np.array([0.1, 0.2]))
            (step,) = monitor.advance(now)
    assert step.step.chunk_number == 2
    assert step.signals.valid == ALL_VALID


@pytest.mark.parametrize("state_first", [True, False])
def test_a_chunk_meets_its_state_in_either_order(monitor, state_first):
    calls = [
        lambda: monitor.on_policy_state(state(1, [1.0, 2.0])),
        lambda: monitor.on_chunk(chunk(1, 0), 0),
    ]
    for call in calls if state_first else reversed(calls):
        call()
    assert entropy(monitor.advance(2 * STEP)) == [0.01, 0.01, 0.01]


def test_a_latent_takes_effect_with_the_first_step_of_its_own_chunk(monitor):
    monitor.on_policy_state(state(1, [1.0, 2.0]))
    monitor.on_chunk(chunk(1, 0), 0)
    monitor.on_policy_state(state(2, [1.0, 5.0]))
    monitor.on_chunk(chunk(2, 0), 2 * STEP + 1)
    steps = monitor.advance(4 * STEP)  # A late tick: five steps of two chunks at once.
    assert [s.step.chunk_number for s in steps] == [1, 1, 1, 2, 2]
    assert entropy(steps) == [0.01, 0.01, 0.01, 0.02, 0.02]
    drift = [float(s.signals.values[LATENT_DRIFT]) for s in steps]
    assert drift == pytest.approx([0, 0, 0, 3, 3])


def test_a_chunk_never_executed_leaves_no_trace_in_the_latents(monitor):
    for number, latent in ((1, [1.0, 0.0]), (2, [99.0, 0.0]), (3, [2.0, 0.0])):
        monitor.on_policy_state(state(number, latent))
    monitor.on_chunk(chunk(1, 0), 0)
    monitor.on_chunk(chunk(2, 0), 10)
    monitor.on_chunk(chunk(3, 0), 20)
    steps = monitor.advance(2 * STEP)
    assert float(steps[-1].signals.values[LATENT_DRIFT]) == pytest.approx(1.0)


def test_joints_are_those_of_the_step_not_of_the_tick(monitor):
    for k in range(5):
        monitor.on_joint_state(joints(k * STEP, [0.5 + 0.1 * k, 0.0]))
    monitor.on_chunk(chunk(1, 0), 0)
    margins = [float(s.signals.values[MARGIN]) for s in monitor.advance(4 * STEP)]
    assert margins == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_old_joints_tell_nothing(monitor):
    monitor.on_joint_state(joints(0, [0.9, 0.0]))
    monitor.on_chunk(chunk(1, 0), 0)
    valid = [has(s.signals.valid, MARGIN) for s in monitor.advance(3 * STEP)]
    assert valid == [True, True, False, False]


def test_mismatch_is_that_of_commands_and_lag(monitor):
    monitor.on_command(0, np.array([0.0, 0.0]))
    for tick in range(1, 11):
        monitor.on_command(tick * 10 * MS, np.array([0.2, 0.0]))
    monitor.on_joint_state(joints(STEP, [0.2, 0.0]))
    monitor.on_chunk(chunk(1, 0), 1)
    (step,) = monitor.advance(STEP)
    # Commanded to 0.2 at 10 ms, expected there but for what 90 ms of a lag of 0.1 s leave.
    assert float(step.signals.values[MISMATCH]) == pytest.approx(0.2 * np.exp(-0.9), rel=1e-6)


@pytest.mark.parametrize("change", ["source", "instruction", "episode"])
def test_history_begins_anew(monitor, change):
    monitor.on_policy_state(state(1, [1.0, 2.0]))
    monitor.on_chunk(chunk(1, 0), 0)
    assert has(monitor.advance(3 * STEP)[-1].signals.valid, VOLATILITY)
    if change == "episode":
        monitor.reset()
    source = "b" if change == "source" else "a"
    number = 1 if change == "source" else 2
    monitor.on_policy_state(
        state(number, [1.0, 5.0], source, "reach" if change == "instruction" else "pick")
    )
    monitor.on_chunk(chunk(number, 4 * STEP, source), 4 * STEP)
    first, second = monitor.advance(5 * STEP)
    assert not has(first.signals.valid, VOLATILITY)
    assert not has(first.signals.valid, LATENT_DRIFT)
    assert has(second.signals.valid, VOLATILITY)


def test_a_chunk_of_other_dimensions_is_left_out_with_the_reason(monitor):
    assert "4 action dimensions, 3 are configured" in monitor.on_chunk(chunk(1, 0, dims=4), 0)
    assert monitor.advance(STEP) == []


def test_joints_of_another_robot_are_refused(monitor):
    with pytest.raises(SignalError, match="3 joints are measured"):
        monitor.on_joint_state(joints(0, [0.0, 0.0, 0.0]))


def test_a_latent_that_does_not_fit_the_calibration_is_said():
    mean, whitening = fit_latents(np.random.default_rng(0).normal(size=(50, 4)), 3)
    monitor = SignalMonitor(SignalConfig(3), Calibration("panda", mean, whitening))
    monitor.on_policy_state(state(1, [1.0, 2.0]))
    monitor.on_chunk(chunk(1, 0), 0)
    monitor.advance(0)
    assert "2 values, the calibration 4" in monitor.problem


def test_states_of_chunks_that_never_come_cost_bounded_memory(monitor):
    for number in range(1, 100):
        monitor.on_policy_state(state(number, [1.0, 2.0]))
    assert len(monitor._states) == WAITING_STATES
    monitor.on_chunk(chunk(99, 0), 0)
    assert has(monitor.advance(0)[0].signals.valid, ENTROPY)


def test_joints_after_the_clock_was_set_back_count(monitor):
    monitor.on_joint_state(joints(nanoseconds(100.0), [0.9, 0.0]))
    monitor.on_joint_state(joints(0, [0.7, 0.0]))
    monitor.on_chunk(chunk(1, 0), 0)
    (step,) = monitor.advance(0)
    assert float(step.signals.values[MARGIN]) == pytest.approx(0.2)


def test_a_state_received_twice_counts_once(monitor):
    monitor.on_policy_state(state(1, [1.0, 0.0]))
    monitor.on_chunk(chunk(1, 0), 0)
    monitor.advance(0)
    monitor.on_policy_state(state(2, [4.0, 0.0]))
    monitor.on_chunk(chunk(2, STEP), STEP)
    monitor.advance(STEP)
    monitor.on_policy_state(state(2, [4.0, 0.0]))
    (step,) = monitor.advance(2 * STEP)
    assert float(step.signals.values[LATENT_DRIFT]) == pytest.approx(3.0)


def test_mismatch_compares_both_at_the_time_of_the_measurement(monitor):
    monitor.on_command(0, np.array([0.0, 0.0]))
    monitor.on_command(10 * MS, np.array([0.2, 0.0]))
    monitor.on_joint_state(joints(10 * MS, [0.0, 0.0]))
    monitor.on_chunk(chunk(1, 0), 1)
    (step,) = monitor.advance(STEP)
    assert float(step.signals.values[MISMATCH]) == pytest.approx(0.0, abs=1e-9)


def test_a_new_episode_begins_the_history_anew_and_keeps_the_plan(monitor):
    monitor.on_chunk(chunk(1, 0), 0)
    before = monitor.advance(3 * STEP)
    assert has(before[-1].signals.valid, VOLATILITY)
    monitor.new_episode()
    first, second = monitor.advance(5 * STEP)
    assert (first.step.step, second.step.step) == (4, 5)
    assert not has(first.signals.valid, VOLATILITY) and has(second.signals.valid, VOLATILITY)
