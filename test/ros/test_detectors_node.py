"""The supervisor node with detectors: a calibration that can't be used is refused in one line."""

import re

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS: run `make build`")

from salus_msgs.msg import ActionChunk
from supervised_arm import HOME, JOINTS, SupervisedArm

from salus_ros.nodes import topics
from salus_ros.nodes.conversions import stamp_of, time_message
from salus_ros.supervision.detectors import Episode, calibrate_episodes, calibrate_pairs
from salus_ros.supervision.detectors.calibration import Identity
from salus_ros.supervision.detectors.conformal import ROW_SPLIT, SEQUENCE_SPLIT
from salus_ros.supervision.detectors.fitting import Budget

COLUMNS = (*JOINTS, "panda_gripper")
RANGES = np.full(8, 5.0)
HOLD = 4


def sway(time):
    return np.append(HOME + np.eye(7)[0] * 0.1 * np.sin(time), 0.04)


def calibration(robot="panda", names=COLUMNS):
    rng = np.random.default_rng(0)
    count = len(names)
    episodes = [
        Episode(np.array([sway(k / 30 + phase)[:count] for k in range(120)]))
        for phase in rng.uniform(0, 6, 40)
    ]
    budget = Budget(0.4, SEQUENCE_SPLIT, 1.25)
    return calibrate_episodes(episodes, RANGES[:count], Identity(robot, names, 30.0), budget)


def of_single_rows():
    rows = np.random.default_rng(1).standard_normal((200, 8))
    pairs = np.zeros((200, 8)), rows
    return calibrate_pairs(
        rows, pairs, RANGES, Identity("panda", COLUMNS, 30.0), Budget(0.1, ROW_SPLIT)
    )


@pytest.fixture
def saved(tmp_path):
    def save(made, change=None):
        path = tmp_path / "detectors.npz"
        made.save(path)
        if change is not None:
            path.write_bytes(change(path.read_bytes()))
        return str(path)

    return save


def flipped(content):
    """One bit of an array is another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


REFUSALS = {
    "missing": (None, None, r"no such configuration file"),
    "truncated": (calibration, lambda b: b[: len(b) // 2], r"is not a calibration of detectors"),
    "damaged": (calibration, flipped, r"is not a calibration of detectors|was changed"),
    "other_robot": (lambda: calibration("fr3"), None, r"is of robot 'fr3', not 'panda'"),
    "dimension": (lambda: calibration(names=COLUMNS[:7]), None, r"of 7 dimensions .* not of 8"),
    "rows": (of_single_rows, None, r"is per_row, the gate needs per_episode"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_calibration_that_cant_be_used_is_refused_at_configure(saved, case, capfd):
    make, change, said = REFUSALS[case]
    file = saved(make(), change) if make else "nowhere.npz"
    with SupervisedArm(detector_calibration=file) as arm:
        assert not arm.configure()
    output = "".join(capfd.readouterr())
    lines = [line for line in output.splitlines() if "can't configure" in line]
    assert len(lines) == 1
    assert re.search(said, lines[0]), lines


def test_without_a_calibration_it_is_said_once_that_steps_arent_scored(capfd):
    with SupervisedArm() as arm:
        arm.bring_up()
        arm.wait(lambda: len(arm.states) > 3, "states")
    output = "".join(capfd.readouterr())
    assert output.count("no detector_calibration") == 1


class ChunkSender:
    """Ten chunks a second of a swaying joint 1; beside it by `jump` from the next one on."""

    def __init__(self, arm):
        self._arm = arm
        self._publisher = arm.publisher(ActionChunk, topics.ACTION_CHUNK)
        self._began = arm.client.get_clock().now().nanoseconds
        self._number = 0
        self.jump = 0.0
        arm.client.create_timer(0.1, self._send)

    def _send(self):
        now = self._arm.client.get_clock().now().nanoseconds
        # On the plans' own grid.
        step = 33_333_333
        start = self._began + (now - self._began) // step * step
        rows = [sway((start - self._began) * 1e-9 + k / 30) for k in range(25)]
        actions = np.array(rows) + np.eye(8)[0] * self.jump
        self._number += 1
        message = ActionChunk(
            source_id="test",
            chunk_number=self._number,
            joint_names=JOINTS,
            gripper_name="panda_gripper",
            gripper_unit=ActionChunk.GRIPPER_UNIT_METER,
            start_time=time_message(start),
            time_step=step * 1e-9,
            actions=actions.ravel(),
            first_fresh_step=0,
            execution_horizon=10,
        )
        message.header.stamp = time_message(now)
        self._publisher.publish(message)


def test_an_unusual_plan_holds_the_arm_and_is_told_with_its_scores(saved):
    with SupervisedArm(detector_calibration=saved(calibration())) as arm:
        arm.bring_up()
        sender = ChunkSender(arm)
        arm.wait(lambda: arm.mode() == 1, "the plan to be followed")
        sender.jump = 0.05
        arm.wait(lambda: "detector_alarm" in arm.reasons(), "the alarm")
        (alarm, *_) = [i for i in arm.interventions if i.reason == "detector_alarm"]
    assert alarm.mode_after == HOLD
    assert alarm.value > alarm.bound > 0
    assert stamp_of(alarm.header.stamp) > 0
