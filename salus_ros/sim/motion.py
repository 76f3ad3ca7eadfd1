"""Smooth tool motions in time: jerk-limited segments, one after another, with the gripper's width.

A tool pose is (x, y, z, yaw) [m, m, m, rad] with the tool straight down. Ruckig makes each
segment; positions and velocities run on from one to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ruckig import InputParameter, Result, Ruckig, Synchronization, Trajectory

from salus_ros.interfaces import FloatArray

SPEED, ACCELERATION, JERK = 0.21, 0.80, 8.0
"""Tool limits [m/s, m/s^2, m/s^3]: the speed under 0.25 m/s; the others keep every joint inside
half of the Panda's limits over the whole work area (test_sim_expert checks it)."""
YAW_SPEED, YAW_ACCELERATION, YAW_JERK = 1.0, 3.0, 25.0
"""Limits of the tool's yaw [rad/s, ...]."""
WIDTH_SPEED = 0.10
"""Change of the gripper's opening [m/s]."""
# Share of the limits that an axis may use at least: one that needn't move must still correct.
_LEAST_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class ToolState:
    """Pose, velocity and acceleration of the tool, [4] each, and the opening width [m]."""

    pose: FloatArray
    velocity: FloatArray
    acceleration: FloatArray
    width: float


@dataclass(frozen=True, slots=True)
class _Segment:
    start: float
    duration: float
    stage: str
    path: Any
    """Ruckig's trajectory; None: a rest at `goal`."""
    goal: FloatArray
    width: float
    width_goal: float


class Motion:
    """Segments from a start state on; times are seconds since that state."""

    def __init__(self, start: ToolState) -> None:
        self._segments: list[_Segment] = []
        self._end = start

    @property
    def duration(self) -> float:
        """Time [s] of the end; from there on the last pose is held."""
        last = self._segments[-1] if self._segments else None
        return last.start + last.duration if last else 0.0

    def move_to(self, stage: str, pose: FloatArray, width: float) -> None:
        """Append a motion to `pose` [4], at rest there; the gripper goes to `width` [m] on the way.

        Raises ValueError where there is no such motion.
        """
        path = _straight(self._end, pose)
        self._append(stage, path, path.duration, pose, width)

    def wait(self, stage: str, duration: float, width: float) -> None:
        """Append a rest of `duration` s, while the gripper goes to `width` [m]."""
        change = abs(width - self._end.width) / WIDTH_SPEED
        self._append(stage, None, max(duration, change), self._end.pose, width)

    def _append(
        self, stage: str, path: Any, duration: float, pose: FloatArray, width: float
    ) -> None:
        end = self._end.width
        segment = _Segment(self.duration, duration, stage, path, pose, end, width)
        self._segments.append(segment)
        most = WIDTH_SPEED * duration
        reached = end + min(max(width - end, -most), most)
        self._end = ToolState(pose, np.zeros(4), np.zeros(4), reached)

    def at(self, time: float) -> tuple[str, ToolState]:
        """Stage and state at `time` [s]; the start before it, the end after it."""
        segment = next((s for s in self._segments if time < s.start + s.duration), None)
        if segment is None:
            return (self._segments[-1].stage if self._segments else ""), self._end
        elapsed = max(time - segment.start, 0.0)
        still = np.zeros(4)
        at_goal = (segment.goal, still, still)
        state = at_goal if segment.path is None else segment.path.at_time(elapsed)
        pose, velocity, acceleration = (np.asarray(values, np.float64) for values in state)
        most = WIDTH_SPEED * elapsed
        width = segment.width + min(max(segment.width_goal - segment.width, -most), most)
        return segment.stage, ToolState(pose, velocity, acceleration, width)


def _straight(start: ToolState, goal: FloatArray) -> Any:
    """Ruckig's motion from a moving state to rest at `goal`; straight where it starts at rest."""
    limits = _limits(goal - start.pose, start.velocity)
    query = InputParameter(4)
    query.current_position = start.pose.tolist()
    query.current_velocity = start.velocity.tolist()
    query.current_acceleration = start.acceleration.tolist()
    query.target_position = goal.tolist()
    query.max_velocity, query.max_acceleration, query.max_jerk = limits.tolist()
    query.synchronization = Synchronization.Phase
    trajectory = Trajectory(4)
    result = Ruckig(4).calculate(query, trajectory)
    if result not in (Result.Working, Result.Finished):
        raise ValueError(f"no motion to {np.round(goal, 3).tolist()}: {result.name}")
    return trajectory


def _limits(way: FloatArray, velocity: FloatArray) -> FloatArray:
    """Velocity, acceleration and jerk limits [3, 4], shared out so that the tool keeps its own.

    What moves already may be braked as hard as it was sped up, also across the new way: the tool
    would swing below the height where it was to stop.
    """
    length = float(np.linalg.norm(way[:3]))
    shares = np.abs(way[:3]) / length if length > 1e-6 else np.ones(3) / np.sqrt(3)
    shares = np.maximum(shares, _LEAST_SHARE)
    braking = np.minimum(np.maximum(shares, np.abs(velocity[:3]) / SPEED), 1.0)
    linear = np.stack([SPEED * shares, ACCELERATION * braking, JERK * braking])
    yaw = np.array([[YAW_SPEED], [YAW_ACCELERATION], [YAW_JERK]])
    return np.hstack([linear, yaw])
