"""Where the plan is, as far as a policy can know it: the point that its next chunk starts from.

An arm follows its commands late and sags under friction. A chunk that starts from the measured
position therefore steps back each time; one that starts from the policy's own last chunk goes on
in it. Where the two are far apart something else happened (the supervisor held the arm, the arm
was moved by hand, there was no chunk yet): then the measured position counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import FloatArray, Observation, seconds
from salus_ros.policy.backend import Prediction

MOVING_TOLERANCE, RESTING_TOLERANCE = 0.10, 0.015
"""A joint farther than this from the plan [rad] is not on it. The second holds where the arm rests
although the plan moves: somebody holds it, and the plan must not run away from it."""
RESTING_SPEED = 0.02
"""Joint speed below which the arm rests [rad/s]."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a chunk starts from.

    targets: joints [rad], then the opening width [m] where there is a gripper. velocities: theirs
    in the plan [rad/s, m/s]; 0 where the plan doesn't count. planned: whether it does.
    """

    targets: FloatArray
    velocities: FloatArray
    planned: bool = True


class Anchor:
    """Remembers the last chunk."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """There is no plan."""
        self._stamp = 0
        self._chunk: Prediction | None = None

    def remember(self, stamp: int, chunk: Prediction) -> None:
        """The chunk made of the observation of `stamp` [ns]."""
        self._stamp, self._chunk = stamp, chunk

    def at(self, observation: Observation) -> Start:
        """What the chunk of this observation starts from."""
        joints = observation.joints
        width = [] if joints.gripper is None else [joints.gripper]
        measured = np.array([*joints.positions, *width])
        planned = self._planned(observation.stamp)
        if planned is None or planned.targets.shape != measured.shape:
            return Start(measured, np.zeros(len(measured)), planned=False)
        count = len(joints.positions)
        gap = float(np.abs(planned.targets[:count] - measured[:count]).max())
        rests = float(np.abs(joints.velocities).max(initial=0.0)) < RESTING_SPEED
        if gap > (RESTING_TOLERANCE if rests else MOVING_TOLERANCE):
            return Start(measured, np.zeros(len(measured)), planned=False)
        return planned

    def _planned(self, stamp: int) -> Start | None:
        chunk = self._chunk
        if chunk is None:
            return None
        row = (stamp - self._stamp) / chunk.time_step
        if not 0.0 <= row <= len(chunk.actions) - 1:
            return None
        first = min(int(row), len(chunk.actions) - 2)
        share = row - first
        before, after = chunk.actions[first : first + 2]
        velocities = (after - before) / seconds(chunk.time_step)
        return Start((1.0 - share) * before + share * after, velocities)
