"""A calibration survives its file as it was; a file that was touched is refused in one line."""

import json

import numpy as np
import pytest
from detector_episodes import IDENTITY, RANGES, STEP, episode, episodes

from salus_ros.supervision.detectors import (
    DetectorBank,
    DetectorError,
    calibrate_episodes,
    calibrate_pairs,
    load_calibration,
)
from salus_ros.supervision.detectors.conformal import ROW_SPLIT, SEQUENCE_SPLIT
from salus_ros.supervision.detectors.fitting import Budget

LOOSE = Budget(0.4, SEQUENCE_SPLIT, 1.25)


@pytest.fixture(scope="module")
def calibration():
    return calibrate_episodes(episodes(40), RANGES, IDENTITY, LOOSE)


@pytest.fixture
def file(calibration, tmp_path):
    path = tmp_path / "detectors.npz"
    calibration.save(path)
    return path


def rewritten(path, change):
    """The same file with its arrays and metadata changed by hand."""
    with np.load(path) as archive:
        content = {name: archive[name] for name in archive.files}
    metadata = json.loads(str(content["metadata"]))
    change(metadata, content)
    content["metadata"] = np.array(json.dumps(metadata))
    np.savez(path, **content)
    return path


def test_a_loaded_calibration_raises_the_same_alarms(calibration, file):
    loaded = load_calibration(file)
    assert loaded.describe() == calibration.describe()
    actions = episode(99).actions.copy()
    actions[60:, 0] += 0.5
    before, after = (
        DetectorBank(c).score_chunk(actions, 0, STEP, 120 * STEP, ()) for c in (calibration, loaded)
    )
    assert before == after


def test_it_names_what_it_was_made_of(file):
    with np.load(file, allow_pickle=False) as archive:
        metadata = json.loads(str(archive["metadata"]))
    assert metadata["robot"] == "tester"
    assert metadata["names"] == ["a", "b", "gripper"]
    assert metadata["rate"] == 30.0
    assert metadata["budget"] == 0.4
    assert metadata["split"]["step_drift"] == 0.5
    assert metadata["samples"]["slow_drift"] == 40
    assert set(metadata["thresholds"]) == set(SEQUENCE_SPLIT)
    assert len(metadata["data_sha256"]) == 64


def test_the_fingerprint_changes_with_the_data(calibration):
    other = calibrate_episodes([*episodes(39), episode(1234)], RANGES, IDENTITY, LOOSE)
    assert other.data_sha256 != calibration.data_sha256


@pytest.mark.parametrize("kept", [0, 10, 200, -30])
def test_a_truncated_file_is_refused(file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DetectorError, match=r"not a calibration of detectors.*calibrate again$"):
        load_calibration(file)


def raise_threshold(metadata, content):
    metadata["thresholds"]["step_drift"] *= 2


def change_matrix(metadata, content):
    content["step_matrix"] = content["step_matrix"] * 0.5


def other_robot(metadata, content):
    metadata["robot"] = "another"


def drop_sum(metadata, content):
    del metadata["sha256"]


@pytest.mark.parametrize("change", [raise_threshold, change_matrix, other_robot, drop_sum])
def test_a_file_edited_by_hand_is_refused(file, change):
    with pytest.raises(DetectorError, match="checksum differ"):
        load_calibration(rewritten(file, change))


def test_a_file_of_another_version_is_refused_naming_both(file):
    def older(metadata, content):
        metadata["layout_version"] = 1

    with pytest.raises(DetectorError, match=r"layout version 1, not .* and 2"):
        load_calibration(rewritten(file, older))


def test_pickles_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "pickle.npz"
    np.savez(path, metadata=np.array([{"kind": "x"}], dtype=object))
    with pytest.raises(DetectorError, match="not a calibration"):
        load_calibration(path)
    with pytest.raises(DetectorError, match="no such calibration"):
        load_calibration(tmp_path / "nothing.npz")


@pytest.mark.parametrize(
    ("robot", "names", "rate", "said"),
    [
        ("other", ("a", "b", "gripper"), 30.0, "robot 'tester', not 'other'"),
        ("tester", ("a", "b"), 30.0, "3 dimensions .* not of 2"),
        ("tester", ("b", "a", "gripper"), 30.0, "dimensions"),
        ("tester", ("a", "b", "gripper"), 15.0, "30 Hz, the policy has 15 Hz"),
    ],
)
def test_another_robot_dimension_or_rate_is_refused(calibration, robot, names, rate, said):
    calibration.require("tester", ("a", "b", "gripper"), 30.0)
    with pytest.raises(DetectorError, match=said):
        calibration.require(robot, names, rate)


def test_too_few_episodes_are_refused_naming_both_numbers():
    tight = Budget(0.04, SEQUENCE_SPLIT)
    with pytest.raises(DetectorError, match=r"0\.004 needs at least 249 .* 40 are given"):
        calibrate_episodes(episodes(40), RANGES, IDENTITY, tight)


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        (np.zeros((5, 2)), "shape"),
        (np.zeros((1, 3)), "shape"),
        (np.full((5, 3), np.nan), "not finite"),
    ],
)
def test_episodes_that_dont_fit_are_refused_by_number(actions, said):
    from salus_ros.supervision.detectors import Episode

    with pytest.raises(DetectorError, match=f"episode 40: .*{said}"):
        calibrate_episodes([*episodes(40), Episode(actions)], RANGES, IDENTITY, LOOSE)


def test_pairs_hold_their_budget_on_rows_that_nobody_has_seen():
    rng = np.random.default_rng(2)

    def rows(count):
        previous = rng.standard_normal((count, 3))
        return previous, previous + 0.05 * rng.standard_t(4, (count, 3))

    actions = rng.standard_normal((2000, 3))
    calibration = calibrate_pairs(actions, rows(2000), RANGES, IDENTITY, Budget(0.05, ROW_SPLIT))
    previous, action = rows(20_000)
    step = calibration.models.step_drift.whitening.distance(action - previous)
    place = calibration.models.action_drift.whitening.distance(action)
    false = (step > calibration.thresholds["step_drift"]) | (
        place > calibration.thresholds["action_drift"]
    )
    assert 0.03 < false.mean() < 0.06


def test_previous_and_action_of_different_lengths_are_no_pairs():
    rows = np.zeros((200, 3))
    with pytest.raises(DetectorError, match="no pairs"):
        calibrate_pairs(rows, (rows[1:], rows), RANGES, IDENTITY, Budget(0.1, ROW_SPLIT))


def test_few_samples_hold_the_budget_because_no_row_is_scored_by_its_own_model():
    """Scores of rows that the model was fitted on are too small: 0.3 would become 0.4."""
    rng = np.random.default_rng(3)
    false = []
    for seed in range(150):
        actions, steps = rng.standard_normal((2, 20, 3))
        pairs = np.zeros((20, 3)), steps
        split = {"action_drift": 0.2, "step_drift": 0.8}
        calibration = calibrate_pairs(actions, pairs, RANGES, IDENTITY, Budget(0.3, split), seed)
        fresh = calibration.models.step_drift.whitening.distance(rng.standard_normal((100, 3)))
        false.append((fresh > calibration.thresholds["step_drift"]).mean())
    assert np.mean(false) == pytest.approx(0.24, abs=0.035)
