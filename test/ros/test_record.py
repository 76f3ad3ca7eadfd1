"""`salus record`, as its user runs it, beside a graph of someone else's."""

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest
import yaml
from rosbags.highlevel import AnyReader

PATIENCE = 60.0
WORDS, NUMBERS = "/words", "/numbers"


@pytest.fixture
def chatter(own_domain):
    """Publishes the time on WORDS, latched, and a count on NUMBERS, at 50 Hz; yields the node."""
    import rclpy
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from std_msgs.msg import Int64, String

    context = rclpy.Context()
    context.init()
    node = rclpy.create_node("chatter", context=context)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    words = node.create_publisher(String, WORDS, latched)
    numbers = node.create_publisher(
        Int64, NUMBERS, QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    ending = threading.Event()

    def talk():
        count = 0
        while not ending.wait(0.02):
            count += 1
            words.publish(String(data=f"{time.time_ns()}"))
            numbers.publish(Int64(data=count))

    thread = threading.Thread(target=talk)
    thread.start()
    yield node
    ending.set()
    thread.join()
    node.destroy_node()
    context.shutdown()


def start(*options):
    command = [sys.executable, "-m", "salus_ros.cli.main", "record", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, output


def metadata(bag):
    content = yaml.safe_load((bag / "metadata.yaml").read_text())
    return content["rosbag2_bagfile_information"]


def wait_for_messages(process, bag, count):
    deadline = time.monotonic() + PATIENCE
    while not (bag / "metadata.yaml").exists() or metadata(bag)["message_count"] < count:
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.05)


def read(bag):
    """Messages by topic."""
    found = {}
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append(message.data)
    return found


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_killed_recording_holds_all_but_the_last_second(chatter, tmp_path, storage):
    bag = tmp_path / "bag"
    process = start(WORDS, "--out", str(bag), "--storage", storage)
    wait_for_messages(process, bag, 60)
    killed = time.time_ns()
    os.kill(process.pid, signal.SIGKILL)
    finish(process)
    words = read(bag)[WORDS]
    assert killed - int(words[-1]) < 1e9
    gaps = [int(b) - int(a) for a, b in pairwise(words)]
    assert len(words) >= 60 and max(gaps) < 1e9
    assert metadata(bag)["message_count"] == len(words)


def test_ctrl_c_ends_it_with_all_that_came(chatter, tmp_path):
    bag = tmp_path / "bag"
    process = start("--all", "--out", str(bag))
    wait_for_messages(process, bag, 60)
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 0, output
    found = read(bag)
    counts = found[NUMBERS]
    assert counts == list(range(counts[0], counts[0] + len(counts)))
    assert f"{metadata(bag)['message_count']} messages" in output
    qos = {
        t["topic_metadata"]["name"]: t["topic_metadata"]["offered_qos_profiles"][0]
        for t in metadata(bag)["topics_with_message_count"]
    }
    assert qos[WORDS]["durability"] == "transient_local"
    assert qos[NUMBERS]["reliability"] == "best_effort"


def test_labels_are_inside(chatter, tmp_path):
    bag = tmp_path / "bag"
    process = start(NUMBERS, "/salus/episode_label", "--out", str(bag))
    wait_for_messages(process, bag, 1)
    told = [finish(start("label", "begin", "--instruction", "pick up the red block"))]
    told.append(finish(start("label", "drop", "--ago", "0.5")))
    process.send_signal(signal.SIGINT)
    assert (told, finish(process)[0]) == ([(0, "")] * 2, 0)
    with AnyReader([bag]) as reader:
        connection = next(c for c in reader.connections if c.topic == "/salus/episode_label")
        labels = [
            (time, reader.deserialize(data, connection.msgtype))
            for _, time, data in reader.messages(connections=[connection])
        ]
    [(_, begin), (received, end)] = labels
    assert (begin.phase, begin.instruction) == (0, "pick up the red block")
    assert (end.phase, end.success, end.failure_type) == (1, False, "drop")
    happened = end.header.stamp.sec * 10**9 + end.header.stamp.nanosec
    assert 0.5e9 <= received - happened < 5e9


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["words"], 2, "topics begin with /"),
        (["--out", "."], 2, "exists"),
        (["/a", "--all"], 2, "not both"),
        (["--duration", "1"], 1, "nothing came"),
        (["label", "success"], 1, "start salus record first"),
        (["repair", "."], 1, "0 recordings"),
    ],
)
def test_what_cannot_be_done_is_one_line(own_domain, tmp_path, monkeypatch, options, code, says):
    monkeypatch.chdir(tmp_path)
    found, output = finish(start(*options))
    assert found == code
    assert says in output and output.strip().count("\n") == 0
