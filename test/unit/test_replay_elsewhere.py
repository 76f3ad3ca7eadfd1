"""Bags that this project did not make: other names, other types, no policy at all; and what is
written of a replay."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import invoke
from rosbags.rosbag2 import Reader

from salus_ros.nodes import topics
from salus_ros.replay.annotated_bag import REPLAYED
from salus_ros.replay.bag_reader import read_raw
from salus_ros.replay.bag_writer import BagWriter
from salus_ros.replay.message_types import typestore
from salus_ros.replay.topic import Message
from salus_ros.sim.rollouts import RolloutOptions, collect

TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
PUBLIC_BAG = os.environ.get("SALUS_PUBLIC_BAG", "")
NAMES = {f"panda_joint{i}": f"other_axis_{i}" for i in range(1, 8)}


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """One lock-step episode, with an image of each camera now and then."""
    folder = tmp_path_factory.mktemp("rollouts")
    collect(RolloutOptions("scripted_expert", 5, nominal_share=1.0), 1, folder, 1, lambda *_: None)
    return folder / "episode_00000"


def replayed(*arguments):
    code, said = invoke("replay", *arguments, "--jobs", "1", "--json", "-")
    return code, json.loads(said[said.index("{\n") :])


def renamed(data):
    """Joint names of the same length, so that the bytes stay where they are."""
    for own, other in NAMES.items():
        assert len(own) == len(other)
        data = data.replace(own.encode(), other.encode())
    return data


def trajectory(raw):
    """A command as a trajectory of one point."""
    message, types = raw.message(), typestore().types
    duration = types["builtin_interfaces/msg/Duration"](sec=0, nanosec=0)
    point = types["trajectory_msgs/msg/JointTrajectoryPoint"](
        positions=message.position[:7],
        velocities=message.velocity[:7],
        accelerations=np.empty(0),
        effort=np.empty(0),
        time_from_start=duration,
    )
    names = [NAMES[name] for name in message.name[:7]]
    return bytes(
        typestore().serialize_cdr(types[TRAJECTORY](message.header, names, [point]), TRAJECTORY)
    )


def test_topics_joints_and_types_are_mapped_by_a_file(bag, tmp_path):
    """Another arm's names, commands as trajectories, no topic of a policy."""
    with BagWriter(tmp_path / "other") as writer:
        states = writer.add_topic("/arm/states", "sensor_msgs/msg/JointState")
        commands = writer.add_topic("/arm/trajectory", TRAJECTORY)
        messages = []
        for raw in read_raw(bag, {topics.JOINT_STATES, topics.JOINT_COMMANDS}.intersection):
            if raw.topic == topics.JOINT_STATES:
                messages.append(Message(states, raw.time, renamed(raw.data)))
            else:
                messages.append(Message(commands, raw.time, trajectory(raw)))
        writer.append(messages)
    mapping = tmp_path / "topics.yaml"
    told = {topics.JOINT_STATES: "/arm/states", topics.JOINT_COMMANDS: "/arm/trajectory"}
    mapping.write_text(yaml.safe_dump({"topics": told, "joints": NAMES}))
    code, content = replayed(tmp_path / "other", "--topics", mapping)
    assert code == 0, content["failed"]
    report = content["bags"][0]
    assert report["plans_from"] == topics.JOINT_COMMANDS
    assert report["ticks"]["count"] > 200 and report["ticks"]["from"] == "grid"
    assert report["scores"]["velocity_use"]["max"] > 0.01
    assert any(value is not None for value in report["signals"]["constraint_margin"])
    code, content = replayed(tmp_path / "other")
    assert code == 1 and "/arm/states has joint states: map it" in content["failed"][0]["problem"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("topics: {/joint_state: /x}", "/joint_state is no topic that is read"),
        ("topics: [1]", "give the graph's names with the bag's"),
        ("robots: {}", "give a mapping with topics and joints"),
        ("joints: {a: x, b: x}", "x stands for several"),
        ("topics: {", "topics.yaml"),
    ],
)
def test_a_wrong_mapping_is_one_line(bag, tmp_path, text, says):
    (tmp_path / "topics.yaml").write_text(text)
    code, said = invoke("replay", bag, "--topics", tmp_path / "topics.yaml")
    assert code == 2 and says in said and "\n" not in said.strip()


def test_the_annotated_bag_holds_both_and_the_page_needs_no_network(bag, tmp_path):
    code, content = replayed(bag, "--out", tmp_path / "out", "--report", tmp_path / "page.html")
    assert code == 0, content["failed"]
    with Reader(bag) as before, Reader(tmp_path / "out" / bag.name) as after:
        counts = {c.topic: c.msgcount for c in after.connections}
        recorded = {c.topic: c.msgcount for c in before.connections}
    assert recorded.items() <= counts.items()
    written = counts.keys() - recorded.keys()
    # No policy is asked anew; whether a failure predictor is configured is none of this test.
    perhaps = {"/replay" + topics.FAILURE_PREDICTION}
    assert written - perhaps == set(REPLAYED) - perhaps - {"/replay" + topics.ACTION_CHUNK}
    ticks = content["bags"][0]["ticks"]["count"]
    assert counts["/replay/joint_commands"] == ticks
    mine, theirs = ({}, {})
    for raw in read_raw(tmp_path / "out" / bag.name, set):
        if raw.topic.endswith(topics.JOINT_COMMANDS):
            (mine if raw.topic.startswith("/replay") else theirs)[raw.time] = raw.data
    assert mine == theirs and len(mine) == ticks
    page = (tmp_path / "page.html").read_text()
    assert "distance from the recorded command" in page and content["fingerprint"] in page
    assert "<script src=" not in page and "<link" not in page
    code, content = replayed(bag, "--out", tmp_path / "out")
    assert code == 1 and "exists: give another --out" in content["failed"][0]["problem"]


@pytest.mark.skipif(
    not PUBLIC_BAG,
    reason="SALUS_PUBLIC_BAG names none: say, testdata/array_msgs, jinbeizame007/rosbag2parquet",
)
def test_a_public_bag_goes_through(tmp_path):
    """A rosbag2 folder with joint states of any arm; limits are made for its joints."""
    bag = Path(PUBLIC_BAG)
    raw = next(r for r in read_raw(bag, set) if r.kind == "sensor_msgs/msg/JointState")
    names = list(raw.message().name)
    limits = dict.fromkeys(names, yaml.safe_load(_LIMITS))
    (tmp_path / "limits.yaml").write_text(yaml.safe_dump({"joint_limits": limits}))
    robot = {"joint_names": names, "gripper_name": "", "limits": str(tmp_path / "limits.yaml")}
    config = {
        "safety_supervisor": {"ros__parameters": {**robot, "workspace": ""}},
        "signal_publisher": {"ros__parameters": robot},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "topics.yaml").write_text(
        yaml.safe_dump({"topics": {topics.JOINT_STATES: raw.topic}})
    )
    code, content = replayed(
        bag, "--config", tmp_path / "config.yaml", "--topics", tmp_path / "topics.yaml"
    )
    assert code == 0, content["failed"]
    assert content["bags_replayed"] == 1 and content["inputs"]["bags"]


_LIMITS = """
{has_position_limits: true, min_position: -6.3, max_position: 6.3, has_velocity_limits: true,
 max_velocity: 2.0, has_acceleration_limits: true, max_acceleration: 10.0, has_jerk_limits: true,
 max_jerk: 500.0}
"""
