"""Recorded /joint_commands against the limits: divided differences, and at 1 kHz between them."""

import numpy as np

from salus_ros.interfaces import JointCommand
from salus_ros.resources import config_file
from salus_ros.supervision.limits import load_limits
from salus_ros.supervision.verification import verify

JOINTS = [f"panda_joint{i}" for i in range(1, 8)]
PERIOD = 10_000_000  # ns
FRACTION = 0.5


def runs(commands, period=PERIOD):
    """Lists of commands whose trajectory stamps are one period apart: a reader may miss some."""
    found, last = [], None
    for stamp, positions, velocities in commands:
        if last is None or stamp - last != period:
            found.append([])
        found[-1].append(JointCommand(stamp, positions, velocities, np.zeros(7), None))
        last = stamp
    return found


def check_inside_limits(commands):
    """The arm's operating limits; the first command is the first that the supervisor sent."""
    limits = load_limits(config_file("panda_joint_limits.yaml"), JOINTS, "panda_gripper").arm
    found = runs(commands)
    assert max(map(len, found), default=0) > 50, "too few commands in a row to judge"
    for number, run in enumerate(found):
        violations = verify(
            run,
            limits.operating(FRACTION),
            PERIOD,
            FRACTION,
            from_rest=number == 0,
            curves=("cubic",),  # what a JointState carries
        )
        assert not violations, "; ".join(map(str, violations))
