"""Recorded rows are those that the gate would score: from lock-step, and from bags."""

from pathlib import Path

import numpy as np
import pytest
from detector_episodes import STEP, episode

from salus_ros.bench import supervisor_episodes as source
from salus_ros.bench.supervisor_episodes import (
    Ended,
    GateReported,
    PlanArrived,
    RowRecorder,
    panda_identity,
    panda_ranges,
    record_lockstep,
    replay,
)
from salus_ros.interfaces import ActionChunk
from salus_ros.supervision.detectors import DetectorError
from salus_ros.supervision.detectors.plan_rows import TimedPlan

MESSAGES = Path(__file__).resolve().parents[2] / "msg" / "msg"
if not MESSAGES.is_dir():
    MESSAGES = MESSAGES.parent


def plan(actions, row, seen=()):
    return PlanArrived(row * STEP, TimedPlan(actions, row * STEP, STEP), seen)


def played(actions, every=8, rows=20, arrived=0):
    """Overlapping plans of a motion, as they arrive."""
    return [
        plan(actions[k : k + rows], arrived + k) for k in range(0, len(actions) - rows + 1, every)
    ]


def test_overlapping_plans_give_each_row_once_and_say_which_plan_it_is_of():
    actions = episode(1).actions
    (recorded,) = replay([*played(actions), Ended(104 * STEP + 1)])
    np.testing.assert_array_equal(recorded.actions, actions[:105])
    assert not recorded.stuck.any()
    assert [t.row for t in recorded.takeovers] == list(range(0, 97, 8))
    for takeover in recorded.takeovers:
        end = takeover.row + len(takeover.actions)
        np.testing.assert_array_equal(takeover.actions, actions[takeover.row : end])


def test_a_gap_begins_a_new_episode():
    actions = episode(2).actions
    end = Ended(700 * STEP)
    found = replay([*played(actions), *played(actions, arrived=500), end])
    assert [len(e.actions) for e in found] == [116, 116]
    np.testing.assert_array_equal(found[0].actions, actions[:116])


def test_observations_that_repeat_are_marked():
    actions = episode(3).actions
    events = [
        PlanArrived(p.time, p.plan, (b"%d" % min(k, 5),)) for k, p in enumerate(played(actions))
    ]
    (recorded,) = replay([*events, Ended(104 * STEP)])
    assert not recorded.stuck[:48].any()
    assert recorded.stuck[48:].all()


def test_rows_while_the_gate_holds_are_not_recorded():
    actions = episode(4).actions
    events = [
        GateReported(0, holds=True),
        *played(actions),
        GateReported(30 * STEP, holds=False),
        GateReported(60 * STEP, holds=True),
        GateReported(80 * STEP, holds=False),
        Ended(104 * STEP + 1),
    ]
    first, second = replay(sorted(events, key=lambda e: e.time))
    np.testing.assert_array_equal(first.actions, actions[30:60])
    np.testing.assert_array_equal(second.actions, actions[80:105])


def test_the_way_back_to_an_arm_that_was_off_its_plan_is_no_step():
    """The plan of row 40 begins 0.3 rad elsewhere; so it does after the gate has said why."""
    actions = episode(5).actions.copy()
    moved = actions.copy()
    moved[40:] += 0.3
    plans = [
        p if p.time < 40 * STEP else plan(moved[k * 8 :][:20], k * 8)
        for k, p in enumerate(played(actions))
    ]
    said = GateReported(38 * STEP, holds=False, off_plan=True)
    (silent,) = replay([*plans, Ended(104 * STEP)])
    (told,) = replay([*plans[:5], said, *plans[5:], Ended(104 * STEP)])
    assert np.abs(silent.block().steps[40]).max() > 0.2
    assert silent.block().revisions[40].max() > 0.2
    assert not told.block().steps[40].any()
    assert not told.block().revisions.any()


def test_lockstep_episodes_are_the_same_for_the_same_seed():
    (first,), (second,) = record_lockstep(1, 3).normal, record_lockstep(1, 3).normal
    np.testing.assert_array_equal(first.actions, second.actions)
    rows, dims = first.actions.shape
    assert rows > 60
    assert dims == len(panda_ranges()) == len(panda_identity().names)
    assert not first.stuck.any()
    assert len(first.takeovers) > 5
    (other,) = record_lockstep(1, 4).normal
    assert np.shape(other.actions) != np.shape(first.actions) or not np.array_equal(
        other.actions, first.actions
    )


def test_rows_from_before_the_arm_moves_off_are_not_recorded():
    """The gate holds for half a second after activation, while the expert's plan goes on."""
    (recorded,) = record_lockstep(1, 3).normal
    steps = np.abs(recorded.block().steps).max(axis=1)
    assert steps[:10].max() < 0.02
    assert np.abs(np.diff(recorded.actions, n=2, axis=0)).max() < 0.01


class FakeGraph:
    """Stands for rig and lock-step: episodes in so many parts, or failed."""

    def __init__(self, parts):
        self.parts = iter(parts)

    def run_episode(self, instruction, seed):
        from types import SimpleNamespace

        count = next(self.parts)
        actions = episode(seed).actions
        for part in range(count or 1):
            self.recorder.restart()
            self.recorder.take_chunk(actions, part * 10**12, STEP)
            self.recorder.score_until(part * 10**12 + 50 * STEP, part * 10**12)
        return SimpleNamespace(status=SimpleNamespace(success=count > 0))

    def close(self):
        pass


@pytest.fixture
def played_series(monkeypatch):
    def play(count, parts):
        graph = FakeGraph(parts)

        def make(policy, detectors):
            graph.recorder = detectors.judge
            return graph, graph

        monkeypatch.setattr(source, "make_lockstep", make)
        return record_lockstep(count, 1)

    return play


def test_episodes_that_failed_or_were_held_are_left_out_and_counted(played_series):
    series = played_series(4, [1, 0, 1, 2, 1, 1])
    assert len(series.normal) == 4
    assert [len(parts) for parts in series.held] == [2]
    assert series.left_out == {"held by the gate": 1, "failed": 1}


def test_a_policy_that_mostly_fails_can_not_be_calibrated_on(played_series):
    with pytest.raises(DetectorError, match=r"only 4 of 8 episodes .* 4 failed"):
        played_series(5, [0, 1, 1, 0, 1, 0, 1, 0])


def test_a_policy_that_cant_be_made_is_an_error_of_one_line():
    with pytest.raises(DetectorError, match="policy none can't be made: unknown policy"):
        record_lockstep(1, 1, policy=source.RunningPolicy("none"))


def test_the_recorder_forgets_what_the_bank_forgets():
    recorder = RowRecorder()
    actions = episode(6).actions
    recorder.take_chunk(actions, 0, STEP)
    recorder.score_until(20 * STEP)
    recorder.reset()
    assert recorder.score_until(40 * STEP) == []
    # One row was in force at that look: no motion.
    assert recorder.take() == []


# ---- bags


@pytest.fixture
def write_bag(tmp_path):
    """Writes chunks (and ends of episodes) into a bag, as the recorder does."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    for name in ("ActionChunk", "Episode", "SupervisorState"):
        text = (MESSAGES / f"{name}.msg").read_text()
        store.register(get_types_from_msg(text, f"salus_msgs/msg/{name}"))
    types = store.types

    def stamp(time):
        return types["builtin_interfaces/msg/Time"](time // 10**9, time % 10**9)

    def header(time):
        return types["std_msgs/msg/Header"](stamp(time), "")

    def message(c):
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
            chosen_block="",
            failure_type="",
            failure_onset=-1.0,
            end=4.0,
        )

    def reported(time, mode):
        kind = types["salus_msgs/msg/SupervisorState"]
        empty = {
            f: [] if f == "reasons" else "" if f in ("source_id", "journal_hash") else 0
            for f in kind.__dataclass_fields__
            if f != "__msgtype__"
        }
        return kind(**{**empty, "header": header(time), "mode": mode, "plan_deviation": 0.0})

    def made(content):
        if isinstance(content, bool):
            return ended(content)
        return reported(*content) if isinstance(content, tuple) else message(content)

    def write(name, contents):
        with Writer(tmp_path / name, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
            topics = {
                kind: bag.add_connection(topic, f"salus_msgs/msg/{kind}", typestore=store)
                for kind, topic in (
                    ("ActionChunk", "/salus/action_chunk"),
                    ("Episode", "/sim/episode"),
                    ("SupervisorState", "/salus/supervisor_state"),
                )
            }
            for time, content in enumerate(contents):
                one = made(content)
                kind = type(one).__name__.rpartition("__")[2]
                data = store.serialize_cdr(one, f"salus_msgs/msg/{kind}")
                bag.write(topics[kind], time, data)
        return tmp_path

    return write


def chunk(actions, row, source="a", number=1):
    return ActionChunk(source, number, ("a", "b"), "gripper", row * STEP, STEP, actions, 0, 8, 0)


def chunks(actions, every=8, rows=20, arrived=0, source="a"):
    """Overlapping chunks of a motion; each counts from its arrival with its first row."""
    return [
        chunk(actions[k : k + rows], arrived + k, source)
        for k in range(0, len(actions) - rows + 1, every)
    ]


def test_bags_give_the_rows_of_their_successful_episodes(write_bag):
    from salus_ros.bench.supervisor_bags import read_bags

    good, failed = episode(4).actions, episode(5).actions
    folder = write_bag("bag", [*chunks(good), True, *chunks(failed, arrived=500), False])
    recorded = read_bags(folder, "tester")
    (only,) = recorded.episodes
    np.testing.assert_array_equal(only.actions, good[:105])
    assert recorded.identity.robot == "tester"
    assert recorded.identity.names == ("a", "b", "gripper")
    assert recorded.identity.rate == pytest.approx(30, rel=1e-6)


def test_episodes_without_the_rig_are_parted_by_the_source_id(write_bag):
    from salus_ros.bench.supervisor_bags import read_bags

    actions = episode(6).actions
    both = [*chunks(actions), *chunks(actions, arrived=105, source="b")]
    assert len(read_bags(write_bag("bag", both), "x").episodes) == 2


def test_rows_while_the_gate_held_are_left_out_of_a_bag(write_bag):
    from salus_ros.bench.supervisor_bags import read_bags

    actions = episode(6).actions
    events = chunks(actions)
    events[4:4] = [(30 * STEP, 4)]
    events[7:7] = [(48 * STEP, 1)]
    first, second = read_bags(write_bag("bag", events), "x").episodes
    np.testing.assert_array_equal(first.actions, actions[:30])
    np.testing.assert_array_equal(second.actions, actions[48:105])


def test_bags_of_different_joints_are_refused(write_bag):
    from dataclasses import replace

    from salus_ros.bench.supervisor_bags import read_bags

    first = chunks(episode(7).actions)
    write_bag("one", first)
    other = [replace(c, joint_names=("a", "c"), source_id="z") for c in first]
    folder = write_bag("two", other)
    with pytest.raises(DetectorError, match="calibrate each"):
        read_bags(folder, "x")


def test_a_chunk_whose_values_dont_fit_its_columns_is_refused(write_bag):
    from dataclasses import replace

    from salus_ros.bench.supervisor_bags import read_bags

    broken = replace(chunks(episode(8).actions)[0], actions=np.zeros(7))
    with pytest.raises(DetectorError, match="7 values in 3 columns"):
        read_bags(write_bag("bag", [broken]), "x")
