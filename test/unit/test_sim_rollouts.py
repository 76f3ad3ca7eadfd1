"""Data sets of rollouts: the same for the same options, continued where they stopped."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader

from salus_ros.replay.errors import BagError
from salus_ros.signals.calibration import Calibration
from salus_ros.sim.disturbances import KINDS
from salus_ros.sim.rollout_plan import plan_episodes
from salus_ros.sim.rollouts import RolloutOptions, RolloutRunner, collect
from salus_ros.sim.tasks import TASKS

OPTIONS = RolloutOptions("scripted_expert", 3, ("block_moved", "latency"), 0.4)


def ignore(entry, was_there):
    pass


def bag_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rollouts") / "set"
    return folder, collect(OPTIONS, 2, folder, 1, ignore)


def test_each_bag_says_what_happened(data_set):
    folder, entries = data_set
    assert [e["disturbance"]["name"] for e in entries] == ["block_moved", "latency"]
    with AnyReader([folder / "episode_00001"]) as reader:
        counts = {c.topic: c.msgcount for c in reader.connections}
        wanted = [c for c in reader.connections if c.topic == "/sim/episode"]
        found = reader.messages(connections=wanted)
        last = [reader.deserialize(data, c.msgtype) for c, _, data in found][-1]
    assert counts["/joint_states"] == counts["/joint_commands"] > 100
    assert counts["/salus/signals"] == counts["/salus/failure_prediction"] > 30
    assert {"/salus/action_chunk", "/salus/policy_state", "/salus/supervisor_state"} <= set(counts)
    assert (last.number, last.phase, last.disturbance) == (2, 1, "latency")
    assert (last.success, last.failure_type) == (entries[1]["success"], entries[1]["failure_type"])


def test_an_episode_is_the_same_whatever_ran_before_it(data_set, tmp_path):
    folder, _ = data_set
    runner = RolloutRunner(OPTIONS, tmp_path)
    runner.run(plan_episodes(2, 3, OPTIONS.disturbances, 0.4)[1])
    runner.close()
    name = "episode_00001"
    assert bag_bytes(tmp_path / name) == bag_bytes(folder / name)


def test_a_data_set_is_continued(data_set, tmp_path):
    folder, entries = data_set
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.rglob("*"):
        target = copy / path.relative_to(folder)
        target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
    (copy / "episode_00000" / "metadata.yaml").write_text("rosbag2_bag")  # half-written
    (copy / "episode_00007.partial").mkdir()
    told = []
    again = collect(OPTIONS, 2, copy, 1, lambda e, there: told.append((e["number"], there)))
    assert told == [(1, True), (0, False)]
    assert again == entries
    assert bag_bytes(copy / "episode_00000") == bag_bytes(folder / "episode_00000")
    assert not (copy / "episode_00007.partial").exists()


def test_another_data_set_is_not_mixed_in(data_set):
    folder, _ = data_set
    other = RolloutOptions("scripted_expert", 4, ("block_moved", "latency"), 0.4)
    with pytest.raises(BagError, match="seed 3, not 4"):
        collect(other, 2, folder, 1, ignore)
    Calibration("panda", lag_seconds=np.full(7, 0.1)).save(folder.parent / "other.npz")
    other = replace(OPTIONS, calibration=str(folder.parent / "other.npz"))
    with pytest.raises(BagError, match="calibration"):
        collect(other, 2, folder, 1, ignore)
    (folder.parent / "manifest.json").write_text(json.dumps([]))
    with pytest.raises(BagError, match="no manifest"):
        collect(OPTIONS, 2, folder.parent, 1, ignore)
    (folder.parent / "manifest.json").unlink()
    with pytest.raises(BagError, match="other files"):
        collect(OPTIONS, 2, folder.parent, 1, ignore)


def test_two_at_once_are_refused(tmp_path):
    def again(entry, was_there):
        with pytest.raises(BagError, match="another process"):
            collect(OPTIONS, 1, tmp_path / "set", 1, ignore)

    assert len(collect(OPTIONS, 1, tmp_path / "set", 1, again)) == 1


@given(
    count=st.integers(0, 200),
    more=st.integers(0, 50),
    seed=st.integers(0, 99),
    share=st.floats(0, 1),
)
def test_a_larger_data_set_begins_as_the_smaller(count, more, seed, share):
    kinds = tuple(KINDS)
    longer = plan_episodes(count + more, seed, kinds, share)
    assert longer[:count] == plan_episodes(count, seed, kinds, share)
    nominal = sum(p.disturbance is None for p in longer)
    assert abs(nominal - share * len(longer)) <= 1
    assert len({p.seed for p in longer}) == len(longer)


def test_the_matrix_is_covered():
    planned = plan_episodes(2 * 11 * 8, 0, tuple(KINDS), 0.5)
    cells = {(p.disturbance and p.disturbance.name, p.instruction) for p in planned}
    assert cells == {(name, t.instruction) for name in (None, *KINDS) for t in TASKS}
