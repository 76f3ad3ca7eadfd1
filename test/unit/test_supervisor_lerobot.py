"""LeRobot data sets as recorded episodes: both layouts, and what is no such set."""

import json
import sys

import numpy as np
import pytest
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
