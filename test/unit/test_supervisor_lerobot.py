"""LeRobot data sets as recorded episodes: both layouts, and what is no such set."""

import json
import sys

import numpy as np
import pytest
from command_line import invoke
from detector_episodes import episode

from salus_ros.bench.supervisor_lerobot import arm_columns, read_lerobot
from salus_ros.supervision.detectors import DetectorError

pyarrow = pytest.importorskip("pyarrow", reason="LeRobot data sets need pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

NAMES = ["a", "b", "gripper"]


def write_rows(path, episodes, numbers, state=True):
    """One parquet file with the rows of some episodes, as LeRobot writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"action": [], "episode_index": [], "frame_index": []}
    for number in numbers:
        actions = episodes[number].actions.astype(np.float32)
        columns["action"] += actions.tolist()
        columns["episode_index"] += [number] * len(actions)
        columns["frame_index"] += list(range(len(actions)))
    if state:
        columns["observation.state"] = columns["action"]
    parquet.write_table(pyarrow.table(columns), path)


def write_info(folder, version, **changed):
    info = {
        "codebase_version": version,
        "robot_type": "tester",
        "fps": 30,
        "features": {"action": {"dtype": "float32", "shape": [3], "names": NAMES}},
    }
    info["features"]["observation.state"] = info["features"]["action"]
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    (folder / "meta" / "info.json").write_text(json.dumps({**info, **changed}))


def write_set(folder, version, episodes, **changed):
    """A data set of the older layout (a file an episode) or the newer (many in a file)."""
    write_info(folder, version, **changed)
    if version == "v3.0":
        half = len(episodes) // 2
        for file, numbers in enumerate((range(half), range(half, len(episodes)))):
            path = folder / "data" / "chunk-000" / f"file-{file:03d}.parquet"
            write_rows(path, episodes, numbers)
    else:
        for number in range(len(episodes)):
            path = folder / "data" / "chunk-000" / f"episode_{number:06d}.parquet"
            write_rows(path, episodes, [number])
    return folder


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_both_layouts_give_the_episodes_in_order(tmp_path, version):
    episodes = [episode(seed, rows=40 + seed) for seed in range(5)]
    found = read_lerobot(str(write_set(tmp_path, version, episodes)))
    assert len(found.episodes) == 5
    for read, written in zip(found.episodes, episodes, strict=True):
        np.testing.assert_allclose(read.actions, written.actions, atol=1e-6)
    assert found.identity.robot == "tester"
    assert found.identity.names == tuple(NAMES)
    assert found.identity.rate == 30
    assert (found.ranges > 0).all()


def test_rows_whose_observed_state_repeats_are_marked(tmp_path):
    still = episode(1)
    still.actions[20:30] = still.actions[20]
    (read,) = read_lerobot(str(write_set(tmp_path, "v2.1", [still]))).episodes
    assert read.stuck[21:30].all()
    assert not read.stuck[:21].any()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"motors": NAMES}, tuple(NAMES)),
        ({"a": 0, "b": 1, "gripper": 2}, tuple(NAMES)),
        (None, ("action_0", "action_1", "action_2")),
        (["x"], ("action_0", "action_1", "action_2")),
    ],
)
def test_names_of_dimensions_in_every_form_that_sets_have(tmp_path, names, expected):
    feature = {"action": {"dtype": "float32", "shape": [3], "names": names}}
    folder = write_set(tmp_path, "v2.1", [episode(1)], features=feature)
    assert read_lerobot(str(folder)).identity.names == expected


def test_grippers_are_no_part_of_the_arm():
    assert arm_columns(["left_a", "left_gripper", "right_a", "right_Finger"]) == [0, 2]
    assert arm_columns(["gripper"]) == [0]


def test_what_is_no_data_set_is_refused_in_a_line(tmp_path):
    def said(source=tmp_path):
        with pytest.raises(DetectorError) as refusal:
            read_lerobot(str(source))
        assert "\n" not in str(refusal.value)
        return str(refusal.value)

    assert "no meta/info.json" in said()
    write_info(tmp_path, "v1.6")
    assert "version v1.6" in said()
    write_info(tmp_path, "v3.0", fps="often")
    assert "info.json can't be read" in said()
    write_info(tmp_path, "v3.0")
    assert "no data/**/*.parquet" in said()
    broken = tmp_path / "data" / "chunk-000" / "file-000.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no parquet")
    assert "can't be read" in said()
    assert "no hub id" in said(tmp_path / "nowhere" / "at" / "all")


def test_without_pyarrow_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    folder = write_set(tmp_path, "v2.1", [episode(1)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DetectorError, match="pip install pyarrow"):
        read_lerobot(str(folder))


def test_an_id_of_the_hub_is_fetched_and_without_its_package_it_is_said_how(tmp_path, monkeypatch):
    import types

    folder = write_set(tmp_path, "v3.0", [episode(1), episode(2)])
    asked = []

    def snapshot_download(name, **wanted):
        asked.append((name, wanted["repo_type"]))
        if name == "lab/absent":
            raise OSError("offline:\nno such set")
        return str(folder)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert len(read_lerobot("lab/arm").episodes) == 2
    assert asked == [("lab/arm", "dataset")]
    with pytest.raises(DetectorError, match="not from the hub: offline: no such set"):
        read_lerobot("lab/absent")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DetectorError, match="pip install huggingface_hub"):
        read_lerobot("lab/arm")


# ---- the command line


def test_a_data_set_is_evaluated_on_episodes_that_the_calibration_never_saw(tmp_path):
    out, report = tmp_path / "out.json", tmp_path / "report.html"
    folder = write_set(tmp_path / "set", "v3.0", [episode(seed) for seed in range(80)])
    arguments = "evaluate", "supervisor", "--dataset", folder, "--json", out, "--report", report
    assert invoke(*arguments)[0] == 0
    content = json.loads(out.read_text())
    assert content["auc"] == {}
    assert content["sequence_false_positives"]["of"] == 20
    assert content["sequence_false_positives"]["rate"] <= 0.15
    assert content["sequences"]["frozen"]["detection_rate"] == 1.0
    assert content["episodes"]["calibration"]["samples"]["frozen"] == 60
    # 60 episodes can't hold 1 %.
    assert content["episodes"]["calibration"]["budget"] == pytest.approx(10 / 61)
    assert "frozen" in report.read_text()


def test_too_few_episodes_for_anything_are_refused_naming_them(tmp_path):
    folder = write_set(tmp_path / "set", "v2.1", [episode(seed) for seed in range(12)])
    code, said = invoke("evaluate", "supervisor", "--dataset", folder)
    assert code == 1
    assert "12 episodes: 9 to calibrate on" in said
    assert "\n" not in said


def test_a_data_set_is_calibrated_into_a_file_of_its_robot(tmp_path):
    from salus_ros.supervision.detectors import load_calibration

    folder = write_set(tmp_path / "set", "v2.1", [episode(seed) for seed in range(12)])
    out = tmp_path / "made.npz"
    arguments = "calibrate", "supervisor", "--dataset", folder, "--out", out, "--budget", 0.9
    assert invoke(*arguments, "--robot", "mine")[0] == 0
    assert load_calibration(out).identity.robot == "mine"


def test_nothing_to_evaluate_is_a_wrong_command_line():
    assert invoke("evaluate", "supervisor", "--episodes", 0)[0] == 2


def test_a_calibration_of_another_robot_is_not_judged_on_the_rig(tmp_path):
    folder = write_set(tmp_path / "set", "v2.1", [episode(seed) for seed in range(12)])
    out = tmp_path / "made.npz"
    invoke("calibrate", "supervisor", "--dataset", folder, "--out", out, "--budget", 0.9)
    code, said = invoke("evaluate", "supervisor", "--calibration", out, "--episodes", 5)
    assert code == 1
    assert "of robot 'tester', not 'sim_panda'" in said
