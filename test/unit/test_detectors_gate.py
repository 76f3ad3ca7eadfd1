"""Detectors in the gate: alarms stop the arm as configured, hold and stops are not scored."""

import json

import numpy as np
import pytest
from test_supervision_gate import JOINTS, MIDDLE, Rig

from salus_ros.interfaces import nanoseconds
from salus_ros.supervision.detector_guard import Detectors, make_detectors
from salus_ros.supervision.detectors import DetectorError, Episode, calibrate_episodes
from salus_ros.supervision.detectors.calibration import Identity
from salus_ros.supervision.detectors.conformal import SEQUENCE_SPLIT
from salus_ros.supervision.detectors.fitting import Budget
from salus_ros.supervision.gate import SafetyGate
from salus_ros.supervision.journal.records import intervention_record
from salus_ros.supervision.modes import Mode

COLUMNS = (*JOINTS, "panda_gripper")
IDENTITY = Identity("tester", COLUMNS, 30.0)
RANGES = np.full(8, 5.0)


def wave(time, phase=0.0):
    return MIDDLE + 0.1 * np.sin(time + phase + np.arange(7))


def normal(seed, rows=150):
    """A slow sine of all joints from some phase on, the gripper at 5 cm."""
    phase = np.random.default_rng(seed).uniform(0, 6)
    arm = [np.append(wave(k / 30, phase), 0.05) for k in range(rows)]
    return Episode(np.array(arm))


@pytest.fixture(scope="module")
def calibration():
    budget = Budget(0.3, SEQUENCE_SPLIT, 1.25)
    return calibrate_episodes([normal(seed) for seed in range(60)], RANGES, IDENTITY, budget)


def rig_with(calibration, actions=None, **changes):
    rig = Rig(plan=wave, **changes)
    rig.gate = SafetyGate(rig.config, rig.limits, make_detectors(calibration, actions or {}))
    rig.gate.activate(rig.joints(), rig.now)
    return rig


def broken(rig, size=0.06, seconds=0.3):
    """For so long from now on the plan is beside what it was."""
    begin = (rig.now.ros - rig.began) * 1e-9
    rig.plan = lambda time: wave(time) + (size if begin < time < begin + seconds else 0.0)


def reasons(rig):
    return [i.reason for i in rig.gate.drain_interventions()]


def test_normal_motion_goes_on(calibration):
    rig = rig_with(calibration)
    rig.follow()
    assert rig.run(5.0).mode is Mode.NOMINAL
    assert max(rig.gate.detector_scores.values()) < 1
    assert "detector_alarm" not in reasons(rig)


def test_an_unusual_step_is_a_hold_that_ends_by_itself(calibration):
    rig = rig_with(calibration)
    rig.follow()
    rig.gate.drain_interventions()
    broken(rig)
    result = rig.run(0.3)
    assert result.mode is Mode.HOLD
    (alarm,) = [i for i in rig.gate.drain_interventions() if i.reason == "detector_alarm"]
    assert alarm.mode_after is Mode.HOLD
    assert alarm.value > alarm.bound > 0
    assert "row" in alarm.message
    assert rig.run(2.0).mode is Mode.NOMINAL


def test_the_scores_of_an_alarm_are_in_its_journal_entry(calibration):
    rig = rig_with(calibration)
    rig.follow()
    rig.gate.drain_interventions()
    broken(rig)
    while rig.tick().mode is not Mode.HOLD:
        rig.send()
    (act,) = [i for i in rig.gate.drain_interventions() if i.reason == "detector_alarm"]
    entry = intervention_record(act, ("detector_alarm",), rig.gate.detector_scores)
    assert set(entry["detectors"]) == set(calibration.models.names)
    assert max(entry["detectors"].values()) > 1
    json.dumps(entry)


@pytest.mark.parametrize(("action", "mode"), [("off", Mode.NOMINAL), ("stop", Mode.STOP)])
def test_each_detector_does_what_it_is_configured_to(calibration, action, mode):
    rig = rig_with(calibration, dict.fromkeys(calibration.models.names, action))
    rig.follow()
    # Small, so that checks 4 and LIMITED have nothing to say.
    broken(rig, size=0.02)
    result = rig.run(0.5)
    assert result.mode in (mode, Mode.LIMITED if mode is Mode.NOMINAL else mode)
    if mode is Mode.STOP:
        assert result.reasons[0] == "detector_stop"
        rig.run(2.0)
        assert rig.results[-1].mode is Mode.STOP


def test_nothing_is_scored_while_the_gate_holds_and_the_way_on_is_no_step(calibration):
    rig = rig_with(calibration)
    rig.follow()
    rig.gate.request_hold(True, rig.now)
    # Meanwhile the plan goes on by far more than a step.
    rig.run(1.0)
    rig.gate.drain_interventions()
    rig.gate.request_hold(False, rig.now)
    assert rig.run(2.0).mode is Mode.NOMINAL
    assert "detector_alarm" not in reasons(rig)


def test_columns_of_a_chunk_may_come_in_any_order(calibration):
    rig = rig_with(calibration)
    order = [3, 1, 0, 2, 6, 5, 4, 7]
    plain = rig.chunk

    def shuffled(**changes):
        chunk = plain(**changes)
        names = tuple(JOINTS[k] for k in order[:7])
        return type(chunk)(
            **{
                **{f: getattr(chunk, f) for f in chunk.__dataclass_fields__},
                "joint_names": names,
                "actions": chunk.actions[:, order],
            }
        )

    rig.chunk = shuffled
    rig.follow()
    assert rig.run(2.0).mode is Mode.NOMINAL


def test_a_chunk_without_a_column_that_is_scored_is_an_alarm(calibration):
    rig = rig_with(calibration)
    rig.follow()
    plain = rig.chunk
    rig.chunk = lambda **c: plain(**c, gripper_name="", actions=plain(**c).actions[:, :7])
    result = rig.run(3.0)
    assert result.mode is Mode.HOLD
    assert "has no panda_gripper" in rig.gate.state(rig.now).text
    assert reasons(rig).count("detector_alarm") == 1
    rig.chunk = plain
    assert rig.run(2.0).mode is Mode.NOMINAL


def test_a_jump_of_the_clock_is_no_alarm(calibration):
    rig = rig_with(calibration)
    rig.follow()
    rig.gate.drain_interventions()
    rig.now = type(rig.now)(rig.now.ros + nanoseconds(3.0), rig.now.steady)
    rig.began += nanoseconds(3.0)
    rig.run(2.0)
    assert "detector_alarm" not in reasons(rig)


def test_an_arm_that_fell_behind_may_be_planned_for_anew(calibration):
    """The plan comes back to the arm by more than any normal step, once it was off its plan."""
    recorder = Recorder()
    rig = Rig(plan=wave)
    rig.gate = SafetyGate(rig.config, rig.limits, Detectors(recorder, COLUMNS))
    rig.gate.activate(rig.joints(), rig.now)
    rig.follow()
    rig.run(1.0)
    recorder.off_plan.clear()
    rig.run(1.0)
    assert recorder.off_plan
    assert not any(recorder.off_plan)
    # Faster than the arm may go: it falls behind.
    fast_from = (rig.now.ros - rig.began) * 1e-9
    rig.plan = lambda time: wave(time + 12 * max(0.0, time - fast_from))
    rig.run(0.5)
    assert any(recorder.off_plan)


class Recorder:
    names = ()
    scores = np.zeros(0)

    def __init__(self):
        self.off_plan = []

    def take_chunk(self, actions, start_time, time_step, observation=(), off_plan=False):
        self.off_plan.append(off_plan)

    def score_until(self, until):
        return []

    def prepare(self, until):
        pass

    def prepared(self, until):
        return True

    def restart(self):
        pass

    def reset(self):
        pass


def test_a_calibration_of_single_rows_is_refused(calibration):
    from dataclasses import replace

    with pytest.raises(DetectorError, match="is per_row, the gate needs per_episode"):
        make_detectors(replace(calibration, mode="per_row"))
