"""The evaluation says what is true: known figures, rows that no model had seen, bad files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from command_line import invoke
from detector_episodes import IDENTITY, RANGES, STEP, episode, episodes

from salus_ros.bench import supervisor_droid as droid
from salus_ros.bench import supervisor_statistics as statistics
from salus_ros.bench.supervisor_faults import (
    FAULT_NAMES,
    FAULTS,
    FROZEN_OBSERVATION,
    Sizes,
    inject,
)
from salus_ros.bench.supervisor_sequences import evaluate_sequences
from salus_ros.supervision.detectors import (
    DetectorBank,
    DetectorError,
    Episode,
    calibrate_episodes,
    load_calibration,
)
from salus_ros.supervision.detectors.conformal import SEQUENCE_SPLIT
from salus_ros.supervision.detectors.fitting import Budget
from salus_ros.supervision.detectors.rows import Takeover

ROOT = Path(__file__).resolve().parents[2]
DROID = Path(
    os.environ.get("SALUS_DROID_DATA", ROOT.parent / "shared/data/droid_supervisor_dev.npz")
)


# ---- statistics


def test_exact_intervals_of_rates():
    assert statistics.rate_interval(0, 300) == pytest.approx((0, 1 - 0.025 ** (1 / 300)))
    assert statistics.rate_interval(300, 300) == pytest.approx((0.025 ** (1 / 300), 1))
    # Clopper and Pearson, 1934: 5 of 20.
    assert statistics.rate_interval(5, 20) == pytest.approx((0.0866, 0.4910), abs=1e-4)
    assert statistics.rate_interval(0, 0) == (0, 1)


def test_the_area_counts_pairs_and_half_of_ties():
    won = statistics.wins(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0]))
    assert statistics.auc(won) == pytest.approx((1 + 0 + 1 + 0.5 + 1 + 1) / 6)


def test_the_interval_of_an_area_holds_it_and_narrows_with_more_rows():
    rng = np.random.default_rng(0)

    def interval(count):
        won = statistics.wins(rng.normal(1, 1, count), rng.normal(0, 1, count))
        return statistics.auc_interval(won), statistics.auc(won)

    (low, high), area = interval(50)
    assert low < area < high
    (lower, higher), _ = interval(1000)
    assert higher - lower < 0.5 * (high - low)


# ---- labelled rows


def labelled(tmp_path, seed=0, **changed):
    """A small file of the set's form: a random walk, and faults far from it."""
    rng = np.random.default_rng(seed)
    count = 150
    kinds = np.repeat(np.arange(5), [count, 30, 30, 30, 30])
    previous = rng.uniform(-0.5, 0.5, (len(kinds), 3))
    action = previous + 0.02 * rng.standard_normal((len(kinds), 3))
    action[kinds == 1, 0] = np.nan
    action[kinds == 2, 1] = 1.5
    action[kinds >= 3] += np.where(rng.random((60, 3)) < 0.5, -0.4, 0.4)
    arrays = {
        "calib_actions": rng.uniform(-0.5, 0.5, (600, 3)),
        "action_low": np.full(3, -1.0),
        "action_high": np.full(3, 1.0),
        "eval_action": action,
        "eval_prev": previous,
        "eval_ftype": kinds,
    }
    path = tmp_path / "labelled.npz"
    np.savez(path, **{k: v for k, v in {**arrays, **changed}.items() if v is not None})
    return path


def test_faults_far_from_normal_are_found_and_the_budget_holds(tmp_path):
    result = droid.summary(droid.cross_validate(droid.load_rows(labelled(tmp_path))))
    assert set(result["auc"]) == {"nonfinite", "out_of_bounds", "drift", "jerk"}
    assert min(result["auc"].values()) > 0.999
    assert min(result["detection_rate"].values()) == 1.0
    assert result["false_positive_rate"] <= 0.03
    low, high = result["intervals"]["false_positive_rate"]
    assert low <= result["false_positive_rate"] <= high


def test_faults_that_are_like_normal_rows_are_not_said_to_be_found(tmp_path):
    """Normal rows labelled as faults: half of the area, as many alarms as the budget."""
    path = labelled(tmp_path)
    with np.load(path) as archive:
        action, previous, kinds = (archive[k] for k in ("eval_action", "eval_prev", "eval_ftype"))
    action[kinds == 3] = previous[kinds == 3] + action[:30] - previous[:30]
    path = labelled(tmp_path, eval_action=action)
    result = droid.summary(droid.cross_validate(droid.load_rows(path)))
    assert 0.35 < result["auc"]["drift"] < 0.65
    assert result["detection_rate"]["drift"] < 0.1
    low, high = result["intervals"]["auc"]["drift"]
    assert low < result["auc"]["drift"] < high


def test_no_normal_row_is_scored_by_what_was_calibrated_on_it(tmp_path, monkeypatch):
    rows = droid.load_rows(labelled(tmp_path))
    seen, scored = [], []
    calibrate, score = droid.calibrate_pairs, droid._scores

    def recording(calibration, pairs, *args):
        seen.append({row.tobytes() for row in pairs[1]} | {row.tobytes() for row in calibration})
        return calibrate(calibration, pairs, *args)

    def recording_scores(fitted, rows, which):
        scored.append((len(seen) - 1, rows.actions[which]))
        return score(fitted, rows, which)

    monkeypatch.setattr(droid, "calibrate_pairs", recording)
    monkeypatch.setattr(droid, "_scores", recording_scores)
    droid.cross_validate(rows)
    assert len(seen) == droid.FOLDS
    for fold, actions in scored:
        assert not seen[fold] & {row.tobytes() for row in actions}


def test_scored_rows_among_the_calibration_actions_are_left_out(tmp_path):
    path = labelled(tmp_path)
    with np.load(path) as archive:
        mixed = np.concatenate([archive["calib_actions"], archive["eval_action"][:20]])
    rows = droid.load_rows(labelled(tmp_path, calib_actions=mixed))
    assert len(droid._unseen(rows)) == 600


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"eval_prev": None}, "has not the arrays"),
        ({"eval_prev": np.zeros((4, 3))}, "eval_prev: the shapes"),
        ({"action_high": np.ones(4)}, "shapes don't fit"),
        ({"eval_ftype": np.full(270, 7)}, r"holds \[7\]"),
        ({"eval_ftype": np.zeros(270)}, "no rows of nonfinite"),
        ({"eval_action": np.array([{}], dtype=object)}, "has not the arrays"),
        ({"calib_actions": np.full((600, 3), "x")}, "no numbers"),
        ({"calib_actions": np.full((600, 3), np.nan)}, "not finite"),
        ({"action_high": np.full(3, -2.0)}, "above 0"),
    ],
)
def test_files_that_wont_do_are_refused(tmp_path, changed, said):
    with pytest.raises(DetectorError, match=said):
        droid.cross_validate(droid.load_rows(labelled(tmp_path, **changed)))


@pytest.mark.skipif(not DROID.is_file(), reason=f"no DROID rows at {DROID}")
def test_real_faults_of_droid_are_found_at_one_percent_false_positives():
    found = droid.cross_validate(droid.load_rows(DROID))
    result = droid.summary(found)
    step = result["by_detector"]["step_drift"]
    assert step["drift"]["auc"] >= 0.999
    assert step["jerk"]["auc"] >= 0.999
    assert result["detection_rate_all"] >= 0.99
    assert result["false_positive_rate"] <= 0.01


# ---- sequences


@pytest.mark.parametrize("name", FAULT_NAMES)
def test_a_fault_changes_nothing_before_its_onset_and_something_after(name):
    clean = episode(5)
    one = inject(name, clean, (0, 1), np.random.default_rng(0))
    actions = one.episode.actions
    assert 1 <= one.onset < 120
    np.testing.assert_array_equal(actions[: one.onset], clean.actions[: one.onset])
    np.testing.assert_array_equal(actions[:, 2], clean.actions[:, 2])
    changed = one.episode.stuck if name == FROZEN_OBSERVATION else actions != clean.actions
    assert changed[one.onset :].any()
    steps = np.abs(np.diff(actions[:, :2], axis=0)).max()
    assert steps < 0.1, "a fault must not be given away by a jump"


def planned(seed):
    """An episode with the plans behind it: a new one every 8 rows, of 20."""
    actions = episode(seed).actions
    starts = range(0, len(actions) - 8, 8)
    return Episode(actions, None, tuple(Takeover(k, actions[k : k + 20]) for k in starts))


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("from_start", [False, True])
def test_a_fault_is_in_all_rows_of_the_plans_from_its_onset_on(name, from_start):
    """What is executed is what the plan in force says, with the fault as without it."""
    clean = planned(5)
    one = inject(name, clean, (0, 1), np.random.default_rng(0), from_start=from_start)
    begins = {takeover.row for takeover in clean.takeovers}
    assert one.onset == 1 if from_start else one.onset in begins
    for before, after in zip(clean.takeovers, one.episode.takeovers, strict=True):
        rows = slice(after.row, after.row + 8)
        np.testing.assert_allclose(after.actions[:8], one.episode.actions[rows], atol=1e-12)
        if not from_start and after.row < one.onset:
            np.testing.assert_array_equal(after.actions, before.actions)
    assert not np.array_equal(one.episode.actions, clean.actions)


def test_a_plan_with_a_fault_contradicts_the_one_before_at_the_onset_alone():
    one = inject("scaled", planned(5), (0, 1), np.random.default_rng(0))
    revisions = one.episode.block().revisions.max(axis=1)
    assert revisions[one.onset] > 0.01
    revisions[one.onset] = 0
    assert revisions.max() < 1e-9


def test_a_delayed_policy_stands_still_and_then_does_what_it_would_have_done():
    clean = episode(5)
    one = inject("delayed", clean, (0, 1), np.random.default_rng(0), Sizes(delay=4))
    onset, actions = one.onset, one.episode.actions[:, :2]
    np.testing.assert_array_equal(actions[onset : onset + 4], np.tile(actions[onset - 1], (4, 1)))
    np.testing.assert_array_equal(actions[onset + 4 :], clean.actions[onset:-4, :2])


def first_alarm_rows(calibration, name):
    """Median rows from the onset to the gate's first alarm, the same faults played to a bank."""
    rng = np.random.default_rng([0, FAULT_NAMES.index(name)])
    delays = []
    for clean in episodes(20, seed=900):
        one = inject(name, clean, (0, 1), rng)
        bank = DetectorBank(calibration)
        bank.take_chunk(one.episode.actions, 0, STEP)
        alarms = [a for row in range(120) for a in bank.score_until(row * STEP)]
        delays.append(next(a.row for a in alarms if a.row >= one.onset) - one.onset)
    return np.median(delays)


def test_sequence_faults_are_counted_with_their_delay():
    budget = Budget(0.2, SEQUENCE_SPLIT, 1.25)
    calibration = calibrate_episodes(episodes(60), RANGES, IDENTITY, budget)
    result = evaluate_sequences(calibration, episodes(20, seed=900), (0, 1))
    assert set(result["sequences"]) == set(FAULT_NAMES)
    frozen = result["sequences"]["frozen"]
    assert frozen["detection_rate"] == 1.0
    assert frozen["delay_steps_p50"] == first_alarm_rows(calibration, "frozen")
    assert result["sequence_false_positives"]["of"] == 20
    assert result["sequence_false_positives"]["rate"] <= 0.1
    low, high = result["intervals"]["frozen"]["detection_rate"]
    assert low < 1.0 == high


def test_false_alarms_are_counted_where_there_are_some():
    """Thresholds with hardly any room: many normal episodes raise an alarm."""
    budget = Budget(0.9, SEQUENCE_SPLIT)
    calibration = calibrate_episodes(episodes(60), RANGES, IDENTITY, budget)
    result = evaluate_sequences(calibration, episodes(20, seed=900), (0, 1))
    false = result["sequence_false_positives"]
    assert false["rate"] > 0.3
    assert result["sequences"]["frozen"]["false_positive_rate"] >= false["rate"]


# ---- the command line


def test_evaluate_writes_the_promised_keys_and_a_report(tmp_path):
    out, report = tmp_path / "out.json", tmp_path / "report.html"
    file = labelled(tmp_path)
    arguments = "--data", file, "--json", out, "--report", report, "--episodes", 0
    assert invoke("evaluate", "supervisor", *arguments)[0] == 0
    content = json.loads(out.read_text())
    for key in ("auc", "detection_rate"):
        assert set(content[key]) == {"nonfinite", "out_of_bounds", "drift", "jerk"}
    assert 0 <= content["false_positive_rate"] <= 1
    assert content["sequences"] == {}
    assert {"hardware", "versions", "commit"} <= set(content)
    assert "ROC" in report.read_text()


def test_evaluate_says_in_a_line_what_is_wrong_with_a_file(tmp_path):
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"no archive")
    code, said = invoke("evaluate", "supervisor", "--data", bad, "--episodes", 0)
    assert code == 1
    assert "has not the arrays" in said
    assert "\n" not in said


def test_rows_are_calibrated_into_a_file_that_names_them(tmp_path):
    out = tmp_path / "rows.npz"
    arguments = "--data", labelled(tmp_path), "--out", out, "--budget", 0.02, "--robot", "fr3"
    assert invoke("calibrate", "supervisor", *arguments)[0] == 0
    calibration = load_calibration(out)
    assert calibration.identity.robot == "fr3"
    assert calibration.mode == "per_row"
    assert calibration.samples == {"action_drift": 600, "step_drift": 150}


def test_lockstep_episodes_are_calibrated_into_a_file_that_is_of_the_panda(tmp_path):
    out, told = tmp_path / "panda.npz", tmp_path / "told.json"
    arguments = ["--episodes-from", "lockstep", "--episodes", "10", "--budget", "0.95"]
    assert invoke("calibrate", "supervisor", *arguments, "--out", out, "--json", told)[0] == 0
    calibration = load_calibration(out)
    assert calibration.identity.robot == "sim_panda"
    assert calibration.identity.names[-1] == "panda_gripper"
    assert calibration.identity.rate == pytest.approx(27, rel=1e-6)  # 0.9 of 30
    assert calibration.mode == "per_episode"
    assert json.loads(told.read_text())["thresholds"] == dict(calibration.thresholds)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "give one of"),
        (("--episodes-from", "lockstep", "--bags", "."), 2, "give one of"),
        (("--bags", "."), 2, "--robot"),
        (("--episodes-from", "nowhere"), 2, "nowhere"),
        (("--episodes-from", "lockstep", "--budget", "0"), 1, "budget 0 is not between"),
        (("--episodes-from", "lockstep", "--budget", "nan"), 1, "budget nan"),
        (
            ("--episodes-from", "lockstep", "--episodes", "100"),
            1,
            "0.001 needs at least 999 calibration samples, 100 are given",
        ),
    ],
)
def test_calibrate_refuses_before_it_runs_anything(tmp_path, monkeypatch, arguments, code, said):
    import salus_ros.bench.supervisor_episodes as source

    monkeypatch.setattr(source, "record_lockstep", None)
    found, text = invoke("calibrate", "supervisor", "--out", tmp_path / "x.npz", *arguments)
    assert found == code
    assert said in text
    assert not (tmp_path / "x.npz").exists()


def test_a_folder_without_bags_and_one_with_a_broken_bag_are_refused(tmp_path):
    def read():
        arguments = "--bags", tmp_path, "--robot", "fr3", "--out", tmp_path / "x.npz"
        return invoke("calibrate", "supervisor", *arguments)

    assert read() == (1, f"{tmp_path}: no rosbag2 folder (with metadata.yaml) in it")
    (tmp_path / "metadata.yaml").write_text("no: bag")
    code, said = read()
    assert code == 1
    assert "can't be read as a bag" in said
