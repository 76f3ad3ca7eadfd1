"""The arm's lag: fitted from a recording, used to say where the arm should be."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.interfaces import nanoseconds
from salus_ros.signals.lag import LagModel, fit_lag, predict_joints
from salus_ros.signals.layout import SignalError

DT = 0.01
STEP = nanoseconds(DT)


def commands(count=600, joints=2):
    time = np.arange(count) * DT
    return np.stack([np.sin((1 + j) * time) for j in range(joints)], axis=1)


def arm(command, lag):
    """A first-order arm, integrated in 100 small steps between commands."""
    state, course = command[0].copy(), [command[0].copy()]
    for u in command[:-1]:
        for _ in range(100):
            state = state + DT / 100 * (u - state) / lag
        course.append(state.copy())
    return np.array(course)


def test_the_lag_of_an_arm_is_found_through_noise():
    lag = np.array([0.05, 0.2])
    measured = arm(commands(), lag) + np.random.default_rng(0).normal(0, 1e-3, (600, 2))
    assert fit_lag(commands(), measured, DT) == pytest.approx(lag, rel=0.03)


def test_a_joint_that_stood_still_gets_the_lag_of_the_others():
    command = np.concatenate([commands(), np.zeros((600, 1))], axis=1)
    measured = arm(command, np.array([0.05, 0.2, 1.0]))
    assert fit_lag(command, measured, DT)[2] == pytest.approx(0.125, rel=0.05)


@pytest.mark.parametrize("broken", ["still", "short", "nan", "shape"])
def test_recordings_that_tell_nothing_are_refused(broken):
    command = commands()
    measured = command.copy()
    if broken == "still":
        command[:] = measured[:] = 0.3
    elif broken == "short":
        command, measured = command[:10], measured[:10]
    elif broken == "nan":
        measured[5, 0] = np.nan
    else:
        measured = measured[:, :1]
    with pytest.raises(SignalError):
        fit_lag(command, measured, DT)


def test_the_prediction_follows_the_arm_between_commands_too():
    lag = np.array([0.05, 0.2])
    command = commands(200)
    course = arm(command, lag)
    model = LagModel(lag)
    for i, u in enumerate(command):
        model.on_command(i * STEP, u)
        assert model.predict(i * STEP) == pytest.approx(course[i], abs=1e-4)
    # A measurement that lies back in time is compared with the prediction of that time.
    half = model.predict(150 * STEP + STEP // 2)
    assert half == pytest.approx((course[150] + course[151]) / 2, abs=1e-4)


def test_without_commands_nothing_is_predicted():
    model = LagModel(np.array([0.1]), timeout=0.2)
    assert model.predict(0) is None
    model.on_command(nanoseconds(1.0), np.array([0.5]))
    assert model.predict(nanoseconds(0.9)) is None
    assert model.predict(nanoseconds(1.2)) == pytest.approx([0.5])
    assert model.predict(nanoseconds(1.3)) is None
    # After the pause it begins anew, at the command.
    model.on_command(nanoseconds(2.0), np.array([0.9]))
    assert model.predict(nanoseconds(2.0)) == pytest.approx([0.9])


def test_bad_and_repeated_commands_are_skipped_and_a_clock_set_back_begins_anew():
    model = LagModel(np.array([0.1]))
    model.on_command(10 * STEP, np.array([0.0]))
    model.on_command(11 * STEP, np.array([np.nan]))
    model.on_command(10 * STEP, np.array([5.0]))
    assert model.predict(12 * STEP) == pytest.approx([0.0])
    model.on_command(10 * STEP - nanoseconds(5.0), np.array([1.0]))
    assert model.predict(11 * STEP - nanoseconds(5.0)) == pytest.approx([1.0])
    with pytest.raises(SignalError, match="2 joints are commanded"):
        model.on_command(0, np.zeros(2))
    with pytest.raises(SignalError, match="1 joints are commanded"):
        model.on_command(0, np.zeros((1, 1)))  # a column is no list of joints


def test_a_recording_is_predicted_as_it_was_live():
    lag = np.array([0.05, 0.2])
    command = commands(300)
    stamps = [i * STEP for i in range(300) if not 100 <= i < 140]  # A pause of 0.4 s.
    command = np.delete(command, np.arange(100, 140), axis=0)
    asked = [i * 7_000_000 for i in range(420)]
    whole = predict_joints(lag, stamps, command, asked)
    model = LagModel(lag)
    for stamp, u in zip(stamps, command, strict=True):
        model.on_command(stamp, u)
    live = [model.predict(t) for t in asked if t >= 140 * STEP]
    assert whole[-len(live) :] == pytest.approx(np.array(live), abs=1e-12)
    assert np.isnan(whole[186]).all()  # 1.302 s: 0.312 s after the last command.
