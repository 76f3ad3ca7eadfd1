"""Recorded rows are those that the gate would score: from lock-step, and from bags."""

from pathlib import Path

import numpy as np
import pytest
from detector_episodes import STEP, episode

from salus_ros.bench.supervisor_episodes import (
    ArrivedChunk,
    panda_identity,
    panda_ranges,
    record_lockstep,
    rows_in_force,
)
from salus_ros.interfaces import ActionChunk
from salus_ros.supervision.detectors import DetectorError

MESSAGES = Path(__file__).resolve().parents[2] / "msg" / "msg"
if not MESSAGES.is_dir():
    MESSAGES = MESSAGES.parent


def chunk(actions, row, source="a", number=1):
    return ActionChunk(source, number, ("a", "b"), "gripper", row * STEP, STEP, actions, 0, 8, 0)


def played(actions, every=8, rows=20, arrived=0):
    """Overlapping chunks of a motion."""
    return [
        ArrivedChunk(chunk(actions[k : k + rows], arrived + k), (arrived + k) * STEP)
        for k in range(0, len(actions) - rows + 1, every)
    ]


def test_overlapping_chunks_give_each_row_once():
    actions = episode(1).actions
    (recorded,) = rows_in_force(played(actions))
    # The last chunk, of row 96, counts for its horizon of 8 rows.
    np.testing.assert_array_equal(recorded.actions, actions[:105])
    assert not recorded.stuck.any()


def test_a_gap_begins_a_new_episode():
    actions = episode(2).actions
    found = rows_in_force([*played(actions), *played(actions, arrived=500)])
    assert len(found) == 2
    # With nothing newer the last chunk of the first part stays in force to its end.
    np.testing.assert_array_equal(found[0].actions, actions[:116])
    np.testing.assert_array_equal(found[1].actions, actions[:105])


def test_observations_that_repeat_are_marked():
    chunks = [
        ArrivedChunk(c.chunk, c.arrival, (b"%d" % min(k, 5),))
        for k, c in enumerate(played(episode(3).actions))
    ]
    (recorded,) = rows_in_force(chunks)
    assert not recorded.stuck[:48].any()
    assert recorded.stuck[48:].all()


def test_lockstep_episodes_are_the_same_for_the_same_seed():
    first, second = record_lockstep(1, 3), record_lockstep(1, 3)
    np.testing.assert_array_equal(first[0].actions, second[0].actions)
    rows, dims = first[0].actions.shape
    assert rows > 60
    assert dims == len(panda_ranges()) == len(panda_identity().names)
    assert not first[0].stuck.any()
    other = record_lockstep(1, 4)
    assert np.shape(other[0].actions) != np.shape(first[0].actions) or not np.array_equal(
        other[0].actions, first[0].actions
    )


def test_recorded_rows_are_those_that_come_into_force_at_the_gate(monkeypatch):
    """The chunks that the gate gets, judged tick by tick, against the recording of the same run."""
    from salus_ros.sim import lockstep
    from salus_ros.supervision.detectors.plan_rows import PlanRows, TimedPlan

    rows, scored = PlanRows(), []

    class Watching(lockstep.SafetyGate):
        def on_chunk(self, chunk, now):
            rows.take(TimedPlan(chunk.actions, chunk.start_time, chunk.time_step))
            return super().on_chunk(chunk, now)

        def tick(self, now):
            due = rows.due(now.ros)
            if due is not None:
                scored.append(due.actions)
            return super().tick(now)

    monkeypatch.setattr(lockstep, "SafetyGate", Watching)
    (recorded,) = record_lockstep(1, 3)
    at_gate = np.concatenate(scored)
    # The episode ends while the last chunk is in force.
    common = min(len(at_gate), len(recorded.actions))
    assert abs(len(at_gate) - len(recorded.actions)) <= 10
    np.testing.assert_array_equal(at_gate[:common], recorded.actions[:common])


# ---- bags


@pytest.fixture
def write_bag(tmp_path):
    """Writes chunks (and ends of episodes) into a bag, as the recorder does."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    for name in ("ActionChunk", "Episode"):
        text = (MESSAGES / f"{name}.msg").read_text()
        store.register(get_types_from_msg(text, f"salus_msgs/msg/{name}"))
    types = store.types

    def stamp(time):
        return types["builtin_interfaces/msg/Time"](time // 10**9, time % 10**9)

    def header(time):
        return types["std_msgs/msg/Header"](stamp(time), "")

    def message(arrived):
        c = arrived.chunk
        return types["salus_msgs/msg/ActionChunk"](
            header=header(c.observation_stamp),
            source_id=c.source_id,
            chunk_number=c.number,
            joint_names=list(c.joint_names),
            gripper_name=c.gripper_name,
            gripper_unit=1,
            start_time=stamp(c.start_time),
            time_step=c.time_step / 1e9,
            actions=c.actions.ravel(),
            first_fresh_step=c.first_fresh_step,
            execution_horizon=c.execution_horizon,
        )

    def ended(success):
        return types["salus_msgs/msg/Episode"](
            header=header(0),
            number=1,
            seed=0,
            instruction="",
            disturbance="",
            phase=1,
            success=success,
            failure_type="",
            failure_onset=-1.0,
            end=4.0,
        )

    def write(name, contents):
        with Writer(tmp_path / name, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
            topics = {
                kind: bag.add_connection(topic, f"salus_msgs/msg/{kind}", typestore=store)
                for kind, topic in (
                    ("ActionChunk", "/salus/action_chunk"),
                    ("Episode", "/sim/episode"),
                )
            }
            for time, content in enumerate(contents):
                made = ended(content) if isinstance(content, bool) else message(content)
                kind = type(made).__name__.rpartition("__")[2]
                data = store.serialize_cdr(made, f"salus_msgs/msg/{kind}")
                bag.write(topics[kind], time, data)
        return tmp_path

    return write


def test_bags_give_the_rows_of_their_successful_episodes(write_bag):
    from salus_ros.bench.supervisor_bags import read_bags

    good, failed = episode(4).actions, episode(5).actions
    folder = write_bag("bag", [*played(good), True, *played(failed, arrived=500), False])
    recorded = read_bags(folder, "tester")
    (only,) = recorded.episodes
    np.testing.assert_array_equal(only.actions, good[:105])
    assert recorded.identity.robot == "tester"
    assert recorded.identity.names == ("a", "b", "gripper")
    assert recorded.identity.rate == pytest.approx(30, rel=1e-6)


def test_episodes_without_the_rig_are_parted_by_the_source_id(write_bag):
    from salus_ros.bench.supervisor_bags import read_bags

    actions = episode(6).actions
    later = [
        ArrivedChunk(chunk(c.chunk.actions, 105 + 8 * k, "b"), c.arrival)
        for k, c in enumerate(played(actions))
    ]
    assert len(read_bags(write_bag("bag", [*played(actions), *later]), "x").episodes) == 2


def test_bags_of_different_joints_are_refused(write_bag):
    from dataclasses import replace

    from salus_ros.bench.supervisor_bags import read_bags

    chunks = played(episode(7).actions)
    write_bag("one", chunks)
    other = [
        ArrivedChunk(replace(c.chunk, joint_names=("a", "c"), source_id="z"), c.arrival)
        for c in chunks
    ]
    folder = write_bag("two", other)
    with pytest.raises(DetectorError, match="calibrate each"):
        read_bags(folder, "x")


def test_a_chunk_whose_values_dont_fit_its_columns_is_refused(write_bag):
    from dataclasses import replace

    from salus_ros.bench.supervisor_bags import read_bags

    one = played(episode(8).actions)[0]
    broken = ArrivedChunk(replace(one.chunk, actions=np.zeros(7)), 0)
    with pytest.raises(DetectorError, match="7 values in 3 columns"):
        read_bags(write_bag("bag", [broken]), "x")
