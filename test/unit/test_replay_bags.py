"""Bags are whole after each write, whatever becomes of the process; torn ones are made whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from salus_ros.replay.bag_writer import BagWriter
from salus_ros.replay.errors import BagError
from salus_ros.replay.repair import is_whole, repair
from salus_ros.replay.storage import Storage
from salus_ros.replay.topic import Message

STORE = get_typestore(Stores.ROS2_JAZZY)
STRING = "std_msgs/msg/String"
BATCH = 7


def text(value):
    return bytes(STORE.serialize_cdr(STORE.types[STRING](data=value), STRING))


def batch(number, first):
    return [Message(number, first + i, text(f"{first + i}")) for i in range(BATCH)]


def write(folder, batches, storage=Storage.MCAP, compress=False):
    """A bag that is left open, as a crash leaves it."""
    writer = BagWriter(folder, storage, compress)
    topic = writer.add_topic("/words", STRING)
    for i in range(batches):
        writer.append(batch(topic, 1000 * i))
    return writer


def words(bag):
    with AnyReader([bag]) as reader:
        found = reader.messages()
        return [reader.deserialize(data, c.msgtype).data for c, _, data in found]


def expected(batches):
    return [f"{1000 * i + k}" for i in range(batches) for k in range(BATCH)]


@pytest.mark.parametrize("storage", Storage)
@pytest.mark.parametrize("batches", [0, 1, 3])
def test_an_unfinished_bag_reads_as_far_as_it_was_written(tmp_path, storage, batches):
    write(tmp_path / "bag", batches, storage)
    assert words(tmp_path / "bag") == expected(batches)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("compress", [False, True])
def test_the_reader_of_mcap_agrees(tmp_path, finished, compress):
    writer = write(tmp_path / "bag", 3, compress=compress)
    if finished:
        writer.close()
    with next((tmp_path / "bag").glob("*.mcap")).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()], validate_crcs=True)
        found = [message.data for *_, message in reader.iter_decoded_messages()]
        statistics = reader.get_summary().statistics
    assert found == expected(3)
    assert (statistics.message_count, statistics.chunk_count) == (3 * BATCH, 3)
    assert statistics.message_end_time == 2000 + BATCH - 1


@pytest.mark.parametrize("compress", [False, True])
def test_a_finished_bag_reads_as_it_was_written(tmp_path, compress):
    write(tmp_path / "bag", 3, compress=compress).close({"note": "kept"})
    assert words(tmp_path / "bag") == expected(3)
    content = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())
    content = content["rosbag2_bagfile_information"]
    assert content["message_count"] == 3 * BATCH
    assert content["custom_data"] == {"note": "kept"}
    assert content["duration"] == {"nanoseconds": 2000 + BATCH - 1}
    assert (tmp_path / "bag" / content["relative_file_paths"][0]).is_file()


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_replay_bags import batch, BagWriter, STRING, Storage
writer = BagWriter(Path({bag!r}), Storage({storage!r}))
topic = writer.add_topic("/words", STRING)
for i in range(10**6):
    writer.append(batch(topic, 1000 * i))
    print(i, flush=True)
"""


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_killed_recording_holds_all_that_was_written(tmp_path, storage):
    bag = tmp_path / "bag"
    code = KILLED.format(tests=str(Path(__file__).parent), bag=str(bag), storage=storage)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        while int(process.stdout.readline()) < 20:
            pass
        os.kill(process.pid, signal.SIGKILL)
        written = 21 + len(process.stdout.read().split())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    if not is_whole(bag):  # The kill fell into the write itself.
        repair(bag)
    found = words(bag)
    assert found[: BATCH * written] == expected(written)


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(1, 100_000), compress=st.booleans())
def test_a_torn_file_keeps_its_whole_chunks(tmp_path_factory, cut, compress):
    bag = tmp_path_factory.mktemp("torn") / "bag"
    write(bag, 4, compress=compress)
    path = next(bag.glob("*.mcap"))
    content = path.read_bytes()
    cut = cut % len(content)
    path.write_bytes(content[:cut])
    try:
        kept = repair(bag)
    except BagError:
        kept = 0
    assert kept % BATCH == 0
    assert kept == 0 or words(bag) == expected(kept // BATCH)
    if cut > len(content) - 60:  # Only the end is torn.
        assert kept == 4 * BATCH
    if kept:
        assert path.with_suffix(".mcap.damaged").read_bytes() == content[:cut]


@pytest.mark.parametrize("storage", Storage)
def test_a_bag_without_metadata_gets_one(tmp_path, storage):
    write(tmp_path / "bag", 2, storage).close()
    metadata = tmp_path / "bag" / "metadata.yaml"
    content = metadata.read_text()
    metadata.unlink()
    assert repair(tmp_path / "bag") == 2 * BATCH
    assert metadata.read_text() == content
    assert words(tmp_path / "bag") == expected(2)


def test_repair_of_what_is_no_bag_says_so(tmp_path):
    with pytest.raises(BagError, match=r"holds 0 recordings"):
        repair(tmp_path)
    (tmp_path / "a.mcap").write_bytes(b"not a bag at all")
    with pytest.raises(BagError, match=r"no MCAP file"):
        repair(tmp_path)


def test_a_folder_that_exists_is_refused(tmp_path):
    with pytest.raises(BagError, match="exists"):
        BagWriter(tmp_path)


def test_a_type_that_nobody_knows_is_refused(tmp_path):
    writer = BagWriter(tmp_path / "bag")
    with pytest.raises(BagError, match="no_msgs/msg/Thing"):
        writer.add_topic("/a", "no_msgs/msg/Thing")
