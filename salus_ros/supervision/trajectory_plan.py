"""A trajectory's points as a chunk, so that it passes the same checks as a policy's.

Points may be any time apart, rows are not: points that are evenly spaced, no farther apart than
`STEP_MAX`, are the rows themselves; others are joined by cubic Hermite curves, with the velocities
that they come with or, where there are none, the slopes of their neighbours, and sampled.
Accelerations aren't used. Checks judge the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import ActionChunk, FloatArray, nanoseconds
from salus_ros.supervision.reference import KNOT_SPACING_MIN

# Rows are at most so far apart [s]: a policy's usual rate.
STEP_MAX = 1 / 30
# Points evenly spaced but for this are the rows themselves [s].
EVEN = 1e-6


@dataclass(frozen=True, slots=True)
class Waypoints:
    """positions [n, joints] rad and velocities [n, joints] rad/s (None: not given) at times [n] s.

    Times count from `stamp` [ns]; 0: from its arrival. names: of the columns.
    """

    stamp: int
    names: tuple[str, ...]
    times: FloatArray
    positions: FloatArray
    velocities: FloatArray | None


def chunk_from_waypoints(
    points: Waypoints, number: int, now: int, gripper_name: str, rows_max: int, source_id: str
) -> ActionChunk:
    """A chunk of a trajectory that arrived at `now` [ns]; its stamp is its observation's.

    A column of the gripper's name is the gripper's width [m]. Raises ValueError, one line, where
    times don't rise or it lasts too long.
    """
    times = points.times
    if times[0] < 0 or (np.diff(times) <= 0).any():
        raise ValueError("times from start must be positive and rise from point to point")
    step, rows = _rows(points, rows_max)
    stamp = points.stamp or now
    names, columns = list(points.names), list(range(rows.shape[1]))
    gripper = gripper_name if gripper_name in names else ""
    if gripper:
        columns.append(columns.pop(names.index(gripper)))
        names.remove(gripper)
    return ActionChunk(
        source_id=source_id,
        number=number,
        joint_names=tuple(names),
        gripper_name=gripper,
        start_time=stamp + nanoseconds(float(times[0])),
        time_step=nanoseconds(step),
        actions=rows[:, columns],
        first_fresh_step=0,
        execution_horizon=len(rows),
        observation_stamp=stamp,
    )


def _rows(points: Waypoints, rows_max: int) -> tuple[float, FloatArray]:
    """Time between two rows [s], and the rows."""
    times = points.times
    if len(times) == 1:
        return STEP_MAX, points.positions
    gaps = np.diff(times)
    even = gaps.max() - gaps.min() <= EVEN
    if even and KNOT_SPACING_MIN <= gaps[0] <= STEP_MAX:
        return float((times[-1] - times[0]) / len(gaps)), points.positions
    step = float(min(max(gaps.min(), KNOT_SPACING_MIN), STEP_MAX))
    count = int((times[-1] - times[0]) / step + EVEN) + 1
    if count > rows_max:
        raise ValueError(f"it lasts {times[-1] - times[0]:.3g} s: at most {rows_max * step:.3g}")
    return step, _hermite(points, times[0] + step * np.arange(count))


def _hermite(points: Waypoints, at: FloatArray) -> FloatArray:
    """Positions [len(at), joints] on the cubics between the points."""
    times, q = points.times, points.positions
    v = np.gradient(q, times, axis=0) if points.velocities is None else points.velocities
    index = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    gap = (times[index + 1] - times[index])[:, None]
    u = np.clip((at - times[index])[:, None] / gap, 0.0, 1.0)
    w = 1 - u
    start = (1 + 2 * u) * w * w * q[index] + u * w * w * gap * v[index]
    end = u * u * (3 - 2 * u) * q[index + 1] - u * u * w * gap * v[index + 1]
    positions: FloatArray = start + end
    return positions
