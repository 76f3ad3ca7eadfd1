"""Another policy in place of a parameter file's: nothing of the file's own is left."""

from __future__ import annotations

import pytest

from salus_ros.policy_choice import OWN_OPTIONS, choose_policy
from salus_ros.resources import config_file

FILE = """
vla_policy:
  ros__parameters: {policy: flow, speed: 0.9, checkpoint: mine, device: cpu, merging: rtc}
safety_supervisor:
  ros__parameters: {detector_calibration: mine.npz, rate: 100.0}
"""


def test_the_files_own_policy_changes_nothing(tmp_path):
    file = tmp_path / "rig.yaml"
    file.write_text(FILE)
    assert choose_policy(file, "flow") == choose_policy(file, "") == {}


def test_another_policy_drops_options_and_what_was_calibrated_on_the_files(tmp_path):
    file = tmp_path / "rig.yaml"
    file.write_text(FILE)
    assert choose_policy(file, "scripted_expert") == {
        "vla_policy": {"policy": "scripted_expert", "speed": 0.0, "checkpoint": ""},
        "safety_supervisor": {"detector_calibration": ""},
    }


def test_the_demo_can_be_run_with_the_expert():
    chosen = choose_policy(config_file("sim_panda.yaml"), "scripted_expert")
    assert chosen["vla_policy"]["speed"] == 0.0


def test_all_options_of_the_node_are_known_here():
    node = pytest.importorskip("salus_ros.nodes.vla_policy", exc_type=ImportError)
    names = {option.name for option in node.POLICY_OPTIONS}
    assert names - {"device"} <= set(OWN_OPTIONS)
