"""The SROS 2 policies: who may publish what moves the arm."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from salus_ros.interface_table import NODES, TOPICS
from salus_ros.nodes import topics
from salus_ros.sros2 import may_publish, policy_xml

FILE = Path(__file__).resolve().parents[2] / "config" / "sros2" / "policies.xml"


@pytest.fixture(scope="module")
def enclaves():
    root = ElementTree.fromstring(FILE.read_text())
    return {e.get("path").removeprefix("/salus/"): e for e in root.iter("enclave")}


def publishers(enclaves, topic):
    return {name for name, enclave in enclaves.items() if may_publish(enclave, topic)}


def test_the_file_is_the_tables():
    assert FILE.read_text() == policy_xml(), "run: python docs/interface_tables.py"


@pytest.mark.parametrize(
    "topic",
    [
        topics.JOINT_COMMANDS,
        topics.TRAJECTORY_COMMANDS,
        topics.POSITION_COMMANDS,
        "/fr3" + topics.TRAJECTORY_COMMANDS,
        "/fr3" + topics.POSITION_COMMANDS,
        topics.SUPERVISOR_STATE,
        topics.INTERVENTIONS,
    ],
)
def test_only_the_supervisor_may_command_the_arm(enclaves, topic):
    assert publishers(enclaves, topic) == {"safety_supervisor"}


def test_only_the_policy_may_publish_chunks(enclaves):
    assert publishers(enclaves, topics.ACTION_CHUNK) == {"vla_policy"}


def test_only_the_bridge_tells_of_the_robot_and_only_the_switch_enables(enclaves):
    assert publishers(enclaves, topics.ROBOT_MODE) == {"franka_bridge"}
    assert publishers(enclaves, topics.ENABLE) == {"enable_switch"}


def test_each_node_may_publish_what_it_does(enclaves):
    assert set(NODES) <= set(enclaves)
    for topic in TOPICS:
        for node in topic.publishers:
            assert may_publish(enclaves[node], topic.name.replace("<name>", "front")), topic.name


def test_wildcards_are_only_listened_to_or_of_the_robots_own(enclaves):
    for name, enclave in enclaves.items():
        wild = [
            entry.text
            for group in enclave.iterfind(".//topics[@publish='ALLOW']")
            for entry in group
            if "*" in entry.text
        ]
        assert wild in ([], ["/camera/*/image_raw"], ["/fr3/franka_robot_state_broadcaster/*"]), (
            name
        )


def test_a_policy_that_allows_more_is_found():
    enclave = ElementTree.fromstring(
        "<enclave path='/salus/x'><topics publish='ALLOW'><topic>/joint*</topic></topics></enclave>"
    )
    assert may_publish(enclave, topics.JOINT_COMMANDS)
