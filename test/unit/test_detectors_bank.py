"""What the gate gets: alarms at rows at fault, each row judged once, none on normal motion."""

import numpy as np
import pytest
from detector_episodes import IDENTITY, RANGES, STEP, episode, episodes

from salus_ros.supervision.detectors import DetectorBank, DetectorError, calibrate_episodes
from salus_ros.supervision.detectors.conformal import SEQUENCE_SPLIT
from salus_ros.supervision.detectors.fitting import Budget


@pytest.fixture(scope="module")
def calibration():
    return calibrate_episodes(episodes(60), RANGES, IDENTITY, Budget(0.2, SEQUENCE_SPLIT, 1.25))


@pytest.fixture
def bank(calibration):
    return DetectorBank(calibration)


def run(bank, actions, chunk=20, every=8, observe=lambda now: ()):
    """Play actions as overlapping chunks, ticked three times a row."""
    alarms = []
    for tick in range(3 * len(actions)):
        now = tick * STEP // 3
        row = tick // 3
        if tick % (3 * every) == 0:
            bank.take_chunk(actions[row : row + chunk], row * STEP, STEP, observe(row))
        alarms += bank.score_until(now)
    return alarms


def first(alarms):
    return {a.detector: a.time // STEP for a in reversed(alarms)}


def test_normal_episodes_raise_no_alarm(bank):
    for seed in range(500, 520):
        bank.reset()
        assert run(bank, episode(seed).actions) == []


def test_each_row_is_scored_once_though_chunks_repeat_rows_and_ticks_are_faster(bank):
    actions = episode(700).actions.copy()
    actions[70, 1] += 0.5
    alarms = [a for a in run(bank, actions) if a.detector == "step_drift"]
    # To the row and away from it again.
    assert [a.time // STEP for a in alarms] == [70, 71]
    assert all(a.score > a.threshold for a in alarms)


def test_rows_that_a_newer_chunk_replaces_before_they_are_due_are_not_judged(calibration):
    bank = DetectorBank(calibration, [n for n in SEQUENCE_SPLIT if n != "plan_revision"])
    actions = episode(701).actions
    wild = actions[0:20].copy()
    wild[10:] += 3.0
    bank.take_chunk(wild, 0, STEP)
    alarms = [a for row in range(5) for a in bank.score_until(row * STEP)]
    bank.take_chunk(actions[5:25], 5 * STEP, STEP)
    alarms += [a for row in range(5, 24) for a in bank.score_until(row * STEP)]
    assert alarms == []


def test_a_fault_in_a_replacing_chunk_is_found_though_its_due_times_were_known_before(bank):
    actions = episode(702).actions
    bank.take_chunk(actions[:20], 0, STEP)
    for row in range(5):
        assert bank.score_until(row * STEP) == []
    bank.take_chunk(actions[5:25] + 1.0, 5 * STEP, STEP)
    assert {a.detector for a in bank.score_until(5 * STEP)} >= {"step_drift"}


def revised(calibration, change, off_plan=False):
    """Alarms of plan_revision where the plan of row 25 changes what the one before meant to do."""
    bank = DetectorBank(calibration, ["plan_revision"])
    actions = episode(713).actions
    bank.take_chunk(actions[10:40], 10 * STEP, STEP)
    alarms = [a for row in range(10, 25) for a in bank.score_until(row * STEP)]
    new = actions[25:55].copy()
    new[5:] += change
    bank.take_chunk(new, 25 * STEP, STEP, off_plan=off_plan)
    return alarms + [a for row in range(25, 54) for a in bank.score_until(row * STEP)]


def test_a_plan_that_contradicts_the_one_before_is_found_at_once_though_it_begins_alike(
    calibration,
):
    assert revised(calibration, 0.0) == []
    (alarm,) = revised(calibration, 0.2)
    assert alarm.time == 25 * STEP


def test_a_plan_may_begin_elsewhere_where_the_arm_was_off_the_one_before(calibration):
    assert revised(calibration, 0.2, off_plan=True) == []
    bank = DetectorBank(calibration)
    actions = episode(714).actions
    bank.take_chunk(actions[10:40], 10 * STEP, STEP)
    alarms = [a for row in range(10, 25) for a in bank.score_until(row * STEP)]
    bank.take_chunk(actions[22:52], 25 * STEP, STEP, off_plan=True)
    alarms += [a for row in range(25, 50) for a in bank.score_until(row * STEP)]
    assert alarms == []


def creeping(actions):
    bias = np.linspace(0, 1, len(actions) - 30)[:, None] * [0.6, -0.6, 0.0]
    return np.concatenate([actions[:30], actions[30:] + bias])


def frozen(actions):
    return np.concatenate([actions[:25], np.repeat(actions[25:26], len(actions) - 25, axis=0)])


def oscillating(actions):
    wave = 0.04 * np.sin(2 * np.pi * np.arange(len(actions)) / 6)
    return actions + np.where(np.arange(len(actions)) >= 30, wave, 0)[:, None] * [1, 0, 0]


@pytest.mark.parametrize(
    ("fault", "detector", "onset"),
    [(creeping, "slow_drift", 30), (frozen, "frozen", 26), (oscillating, "oscillation", 30)],
)
def test_faults_that_no_single_step_shows_are_found(calibration, fault, detector, onset):
    bank = DetectorBank(calibration, [detector])
    found = first(run(bank, fault(episode(703).actions)))
    assert onset <= found[detector] < onset + 80


def test_an_observation_that_stays_the_same_while_the_plan_goes_on_is_found(bank):
    actions = episode(704).actions
    rows = run(bank, actions, observe=lambda row: (b"image %d" % min(row, 16),))
    assert first(rows).keys() == {"frozen"}
    bank.reset()
    assert run(bank, actions, observe=lambda row: (b"image %d" % row, b"")) == []


def test_the_jump_over_a_pause_is_no_step(bank):
    actions = episode(705).actions
    for begin, until, due in ((20, 35, 0), (90, 110, 200)):
        bank.take_chunk(actions[begin:until], due * STEP, STEP)
        for row in range(until - begin):
            assert bank.score_until((due + row) * STEP) == []


def test_only_wanted_detectors_raise_alarms(calibration):
    wild = episode(706).actions.copy()
    wild[50:] += 1.0
    only = DetectorBank(calibration, ["step_drift"])
    assert {a.detector for a in run(only, wild)} == {"step_drift"}
    assert run(DetectorBank(calibration, []), wild) == []


def test_an_unknown_detector_is_refused(calibration):
    with pytest.raises(DetectorError, match=r"no calibrated detector \['jitter'\]"):
        DetectorBank(calibration, ["jitter"])


def test_a_plan_of_another_rate_is_an_alarm(bank):
    alarms = bank.score_chunk(episode(707).actions[:20], 0, 2 * STEP, 4 * STEP)
    assert [a.detector for a in alarms] == ["policy_rate"]
    assert alarms[0].score == pytest.approx(15.0, rel=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, -1e200])
def test_no_number_is_too_wild_to_be_an_alarm_and_the_bank_recovers(bank, value):
    actions = episode(708).actions
    wild = actions[:20].copy()
    wild[3, 1] = value
    bank.take_chunk(wild, 0, STEP)
    found = [bool(bank.score_until(row * STEP)) for row in range(5)]
    assert found[:3] == [False] * 3
    assert found[3]
    bank.take_chunk(actions[5:25], 5 * STEP, STEP)
    rest = [a for row in range(5, 24) for a in bank.score_until(row * STEP)]
    assert not [a for a in rest if a.time > 6 * STEP]


def test_a_score_that_is_no_number_is_an_alarm(calibration):
    bank = DetectorBank(calibration, ["slow_drift"])
    actions = episode(712).actions[:20].copy()
    actions[3], actions[4] = 1e308, -1e308
    bank.take_chunk(actions, 0, STEP)
    assert any(np.isnan(a.score) for row in range(6) for a in bank.score_until(row * STEP))


@pytest.mark.parametrize("shape", [(5, 2), (0, 3), (5,), (2, 3, 1)])
def test_a_wrong_shape_is_refused_and_the_plan_in_force_stays(bank, shape):
    bank.take_chunk(episode(709).actions[:20], 0, STEP)
    with pytest.raises(DetectorError, match="shape"):
        bank.take_chunk(np.zeros(shape), 0, STEP)
    assert bank.score_until(3 * STEP) == []


def test_the_newest_scores_are_shown_over_their_thresholds(bank):
    bank.score_chunk(episode(710).actions[:20], 0, STEP, 5 * STEP)
    assert bank.scores.shape == (6,)
    assert (bank.scores < 1).all()


def test_a_single_repeat_is_normal_even_where_the_calibration_has_none(bank):
    actions = episode(711).actions.copy()
    actions[25] = actions[24]
    assert run(bank, actions) == []


@pytest.mark.parametrize("seed", range(6))
def test_scoring_ahead_changes_nothing(calibration, seed):
    """Whenever it is done, with plans that come in between, a HOLD, a strange rate, a nan."""
    rng = np.random.default_rng(seed)
    actions = episode(720 + seed).actions.copy()
    actions[70, 1] += 0.5
    plain, ahead = DetectorBank(calibration), DetectorBank(calibration)
    found = [[], []]
    for tick in range(3 * len(actions)):
        now, row = tick * STEP // 3, tick // 3
        if rng.random() < 0.5:
            ahead.prepare(now + int(rng.integers(0, 2 * STEP)))
        deed, step = rng.random(), STEP if rng.random() < 0.95 else 2 * STEP
        chunk = actions[row : row + 20] + (np.nan if rng.random() < 0.02 else 0.0)
        for bank, alarms in zip((plain, ahead), found, strict=True):
            if deed < 0.1:
                bank.take_chunk(chunk, row * STEP, step, off_plan=deed < 0.02)
            elif deed < 0.12:
                bank.restart()
            alarms.append([(a.text, a.time) for a in bank.score_until(now)])
            alarms.append(bank.scores.tolist())
    assert found[0] == found[1]
    assert any(found[0])


def test_what_was_scored_ahead_is_not_scored_again_in_the_tick(calibration, monkeypatch):
    bank, calls = DetectorBank(calibration), []
    score = bank._scored
    monkeypatch.setattr(bank, "_scored", lambda due: calls.append(due.first) or score(due))
    bank.take_chunk(episode(720).actions[:20], 0, STEP)
    for tick in range(30):
        bank.prepare(tick * STEP // 3)
        ahead = len(calls)
        bank.score_until(tick * STEP // 3)
        assert len(calls) == ahead
    assert calls == list(range(10)) or calls == list(range(11))
