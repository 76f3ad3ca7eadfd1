"""Episodes from bags: what is usable comes out whole, what isn't is skipped with its reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salus_ros.interfaces import ActionChunk, ActionDistribution, PolicyState
from salus_ros.prediction.episodes import UNKNOWN_SEED
from salus_ros.replay.bag_writer import BagWriter
from salus_ros.replay.errors import BagError
from salus_ros.replay.messages import MessageEncoder
from salus_ros.replay.recordings import read_recordings
from salus_ros.replay.topic import Message
from salus_ros.signals.layout import ALL_VALID, SIGNALS, SignalVector
from salus_ros.signals.monitor import StepSignals
from salus_ros.signals.step_clock import DueStep
from salus_ros.sim.episode import EpisodeStatus, Phase

STEP = 33_333_333
JOINTS = tuple(f"j{i}" for i in range(7))
STEPS = 30


def status(phase, success=False, failure="", onset=-1.0, end=-1.0):
    text = "pick up the red block"
    return EpisodeStatus(4, 17, text, "latency", phase, success, failure, onset, end)


def chunk(number, joints):
    start = number * 10 * STEP
    actions = np.full((16, len(joints) + 1), float(number))
    return ActionChunk("source", number, joints, "grip", start, STEP, actions, 0, 10, start)


def state(number, width=5):
    latent = np.full(width, number, np.float32)
    return PolicyState("source", number, 0, "", latent, ActionDistribution(8, 0.25, 0.5), (), {}, 0)


def due(step):
    values = np.arange(SIGNALS, dtype=np.float32) + step
    place = DueStep("source", step // 10, step % 10, step * STEP, 0, np.zeros(8))
    return StepSignals(place, SignalVector(values, ALL_VALID))


def happenings(end, joints=JOINTS):
    """(time, thing) of an episode of STEPS steps that ends so."""
    yield 0, status(Phase.RUNNING)
    for step in range(STEPS):
        if step % 10 == 0:
            yield step * STEP, chunk(step // 10, joints)
            yield step * STEP, state(step // 10)
        yield step * STEP, due(step)
    if end is not None:
        yield STEPS * STEP, end


def write(folder, things, leave_out=(), epoch=10**18, episode_topic="/sim/episode", ago=0.0):
    """ago: how long before its receipt the end of the episode is stamped [s]."""
    encoder = MessageEncoder(JOINTS, "grip", epoch)
    writer, numbers, messages = BagWriter(folder), {}, []
    for time, thing in things:
        ended = isinstance(thing, EpisodeStatus) and thing.phase is Phase.ENDED
        topic, kind, data = encoder.encode(thing, time - round(ago * 1e9) * ended)
        if topic in leave_out:
            continue
        if isinstance(thing, EpisodeStatus):
            topic = episode_topic
        if topic not in numbers:
            numbers[topic] = writer.add_topic(topic, kind)
        messages.append(Message(numbers[topic], time + epoch, data))
    writer.append(messages)
    writer.close()


SUCCESS = status(Phase.ENDED, success=True, end=1.0)
DROP = status(Phase.ENDED, failure="drop", onset=0.52, end=1.0)


def only_reason(folder):
    found = read_recordings(folder)
    assert found.episodes == ()
    [(source, reason)] = found.skipped
    assert Path(source.partition("#")[0]).is_dir()
    assert "\n" not in reason
    return reason


def test_an_episode_comes_out_as_it_was_recorded(tmp_path):
    write(tmp_path / "bag", happenings(DROP))
    found = read_recordings(tmp_path)
    assert found.skipped == ()
    [episode] = found.episodes
    assert (episode.failure_type, episode.onset, episode.end) == ("drop", 0.52, 1.0)
    assert (episode.seed, episode.disturbance, episode.success) == (17, "latency", False)
    assert np.allclose(episode.times, np.arange(STEPS) * STEP / 1e9)
    assert np.array_equal(episode.signals, np.arange(STEPS)[:, None] + np.arange(SIGNALS))
    assert (episode.valid == ALL_VALID).all()
    assert np.array_equal(episode.chunks.latents, np.repeat([[0.0], [1.0], [2.0]], 5, axis=1))
    assert episode.chunks.plans.shape == (3, 16, 8)
    assert np.allclose(episode.chunks.times, episode.chunks.plan_starts)
    assert episode.chunks.entropies.tolist() == [0.25] * 3


@pytest.mark.parametrize(("failure", "onset"), [("drop", 0.4), ("", -1.0)])
def test_a_person_labels_what_no_rig_judges(tmp_path, failure, onset):
    """A label is stamped when it happened, and received when it was told."""
    label = replace(status(Phase.ENDED, not failure, failure), instruction="")
    told = STEPS * STEP / 1e9
    ago = told - onset if failure else 0.0
    write(tmp_path / "bag", happenings(label), episode_topic="/salus/episode_label", ago=ago)
    [episode] = read_recordings(tmp_path).episodes
    assert (episode.success, episode.failure_type) == (not failure, failure)
    assert episode.onset == pytest.approx(onset)
    assert episode.end == pytest.approx(told)
    assert episode.instruction == "pick up the red block"
    assert episode.seed == UNKNOWN_SEED


def test_several_episodes_of_a_bag_are_told_apart(tmp_path):
    gap = 100 * STEP
    later = [(time + gap, thing) for time, thing in happenings(DROP)]
    # Steps of the second one would lie at the times of the first.
    later = [(time, thing) for time, thing in later if not isinstance(thing, StepSignals)]
    write(tmp_path / "bag", [*happenings(SUCCESS), *later])
    found = read_recordings(tmp_path)
    assert [e.success for e in found.episodes] == [True]
    assert "no signals" in found.skipped[0][1]


def test_an_episode_that_was_cut_off_is_skipped(tmp_path):
    write(tmp_path / "bag", happenings(None))
    assert "cut off" in only_reason(tmp_path)


@pytest.mark.parametrize("topic", ["/salus/signals", "/salus/action_chunk"])
def test_a_bag_without_a_topic_is_skipped(tmp_path, topic):
    write(tmp_path / "bag", happenings(SUCCESS), leave_out=(topic,))
    assert topic in only_reason(tmp_path)


def test_a_bag_without_outcomes_is_skipped(tmp_path):
    write(tmp_path / "bag", happenings(SUCCESS), leave_out=("/sim/episode",))
    assert "label" in only_reason(tmp_path)


def test_another_robot_is_skipped(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, happenings(SUCCESS))
    write(tmp_path / "c", happenings(SUCCESS, tuple(f"ur_{i}" for i in range(6))))
    found = read_recordings(tmp_path)
    assert len(found.episodes) == 2
    [(source, reason)] = found.skipped
    assert source.endswith("c") and "another robot's: ur_0" in reason
    asked = read_recordings(tmp_path, (*(f"ur_{i}" for i in range(6)), "grip"))
    assert (len(asked.episodes), len(asked.skipped)) == (1, 2)


@pytest.mark.parametrize("cut", [0, 100, 3000, -40])
def test_a_truncated_bag_is_skipped_and_can_be_repaired(tmp_path, cut):
    write(tmp_path / "bag", happenings(SUCCESS))
    path = next((tmp_path / "bag").glob("*.mcap"))
    path.write_bytes(path.read_bytes()[:cut])
    assert "salus record repair" in only_reason(tmp_path)


def test_signals_of_the_older_layout_are_refused(tmp_path):
    encoder = MessageEncoder(JOINTS, "grip")
    write(tmp_path / "bag", happenings(SUCCESS))
    old = BagWriter(tmp_path / "old")
    kind = "std_msgs/msg/Float32MultiArray"
    array = encoder.message(kind, data=np.zeros(18, np.float32))
    signals = old.add_topic("/salus/signals", kind)
    topic, chunk_kind, data = encoder.encode(chunk(0, JOINTS), 0)
    chunks = old.add_topic(topic, chunk_kind)
    old.append([Message(signals, 0, encoder.serialise(array, kind)), Message(chunks, 0, data)])
    old.close()
    found = read_recordings(tmp_path)
    assert len(found.episodes) == 1
    [(_, reason)] = found.skipped
    assert "18-value layout" in reason and "record again" in reason


def test_what_is_no_number_is_not_valid(tmp_path):
    things = list(happenings(SUCCESS))
    for _, thing in things:
        if isinstance(thing, StepSignals) and thing.step.step == 3:
            thing.signals.values[4] = np.nan
    write(tmp_path / "bag", things)
    [episode] = read_recordings(tmp_path).episodes
    assert np.isfinite(episode.signals).all()
    assert episode.valid[3] == ALL_VALID & ~(1 << 4)


def test_a_folder_without_bags_says_so(tmp_path):
    with pytest.raises(BagError, match="no rosbag2 folder"):
        read_recordings(tmp_path)
    with pytest.raises(BagError, match="no such folder"):
        read_recordings(tmp_path / "none")
