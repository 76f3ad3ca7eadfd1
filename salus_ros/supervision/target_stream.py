"""A stream of single targets as chunks, so that each passes the same checks as a policy's plan.

A target is a plan that goes on from it for the staleness bound and then runs out: without another
one the arm stops. It goes on with the target's velocity, or with that from the target before where
there is none: towards a target at rest an arm would brake, and be late for each that comes next.
What is made up so stays inside position limits and workspace; the target itself is only judged.
"""

from __future__ import annotations

import numpy as np

from salus_ros.interfaces import ActionChunk, FloatArray, JointState, nanoseconds, seconds
from salus_ros.supervision.limits import RobotLimits

# Rows that a target is continued by.
ROWS = 5


class TargetStream:
    """Remembers the last target, for the velocity."""

    def __init__(self, limits: RobotLimits, age: float, source_id: str) -> None:
        """age: a target is followed for so long [s] after its stamp."""
        self._limits = limits
        self._age = age
        self._source_id = source_id
        self._last: JointState | None = None
        self._number = 0

    def chunk(self, target: JointState) -> ActionChunk:
        """The chunk that a target stands for; positions [joints] rad, velocities may be empty."""
        self._number += 1
        velocities = self._velocities(target)
        self._remember(target)
        step = self._age / ROWS
        rows = self._continued(target.positions, velocities, step)
        limits, gripper = self._limits, ""
        if target.gripper is not None and limits.gripper is not None:
            gripper = limits.gripper.name
            rows = np.hstack((rows, np.full((len(rows), 1), target.gripper)))
        return ActionChunk(
            source_id=self._source_id,
            number=self._number,
            joint_names=limits.arm.names,
            gripper_name=gripper,
            start_time=target.stamp,
            time_step=nanoseconds(step),
            actions=rows,
            first_fresh_step=0,
            execution_horizon=len(rows),
            observation_stamp=target.stamp,
        )

    def _remember(self, target: JointState) -> None:
        """A target that will be refused says nothing of the next one's velocity."""
        arm, q = self._limits.arm, target.positions
        if ((q >= arm.lower) & (q <= arm.upper)).all():
            self._last = target

    def _velocities(self, target: JointState) -> FloatArray:
        """Those of the target [joints] rad/s, given or since the one before; else none."""
        if target.velocities.size:
            return target.velocities
        last = self._last
        since = 0.0 if last is None else seconds(target.stamp - last.stamp)
        if last is None or not 0 < since <= self._age:
            return np.zeros(len(target.positions))
        velocities: FloatArray = (target.positions - last.positions) / since
        return velocities

    def _continued(self, positions: FloatArray, velocities: FloatArray, step: float) -> FloatArray:
        arm, space = self._limits.arm, self._limits.workspace
        times = step * np.arange(ROWS + 1)[:, None]
        rows = positions + times * velocities
        if not np.isfinite(rows).all():  # for check 2 to refuse
            return rows
        inside: FloatArray = np.clip(rows[1:], arm.lower, arm.upper)
        if space is not None and space.worst_row(inside)[0] < 0:
            inside = np.repeat(positions[None], ROWS, axis=0)
        return np.vstack((positions, inside))
