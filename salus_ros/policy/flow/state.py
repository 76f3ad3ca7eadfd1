"""State and actions as the network has them, and back; numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.policy.anchor import Start
from salus_ros.sim.kinematics import tool_pose

GRIPPER_CENTRE, GRIPPER_SCALE = 0.045, 0.03
"""The gripper's opening is normalised by these [m]; it is absolute, the joints are relative."""
LEAST_SCALE = 2e-3
"""Of a normalised action [rad]: smaller ones don't matter."""


def state_vector(start: Start, measured: FloatArray) -> FloatArray:
    """Start, its velocity, measured minus start [dims each], tool (x, y, z, sin, cos of yaw)."""
    x, y, z, yaw = tool_pose(start.targets[:-1])
    tool = [x, y, z, np.sin(yaw), np.cos(yaw)]
    return np.concatenate([start.targets, start.velocities, measured - start.targets, tool])


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """Statistics of the training data.

    state_mean, state_scale [state_size]. action_scale [rows, joints]: of a target relative to the
    start [rad]. action_low, action_high [dims]: range of normalised actions in the execution rows,
    which the bins of the action distribution span.
    """

    state_mean: FloatArray
    state_scale: FloatArray
    action_scale: FloatArray
    action_low: FloatArray
    action_high: FloatArray

    def state(self, values: FloatArray) -> FloatArray:
        """[..., state_size] normalised, within what was seen by a margin."""
        return np.clip((values - self.state_mean) / self.state_scale, -8.0, 8.0)

    def normalise(self, chunk: FloatArray, start: FloatArray) -> FloatArray:
        """Chunk [..., rows, dims] that starts at `start` [..., dims], both rad and m."""
        joints = (chunk[..., :-1] - start[..., None, :-1]) / self.action_scale
        width = (chunk[..., -1:] - GRIPPER_CENTRE) / GRIPPER_SCALE
        return np.concatenate([joints, width], -1)

    def denormalise(self, chunk: FloatArray, start: FloatArray) -> FloatArray:
        """The reverse; row 0 is the start itself, of which every chunk is a continuation."""
        joints = chunk[..., :-1] * self.action_scale + start[..., None, :-1]
        joints[..., 0, :] = start[..., :-1]
        width = chunk[..., -1:] * GRIPPER_SCALE + GRIPPER_CENTRE
        return np.concatenate([joints, width], -1)


def fit_normalisation(
    states: FloatArray, chunks: FloatArray, starts: FloatArray, execution_rows: int
) -> Normalisation:
    """From states [n, state_size], chunks [n, rows, dims], starts [n, dims]."""
    scale = np.maximum((chunks[..., :-1] - starts[:, None, :-1]).std(0), LEAST_SCALE)
    n = len(states[0])
    plain = Normalisation(np.zeros(n), np.ones(n), scale, np.zeros(0), np.ones(0))
    window = plain.normalise(chunks, starts)[:, :execution_rows].reshape(-1, chunks.shape[-1])
    low, high = np.quantile(window, [0.005, 0.995], axis=0)
    return Normalisation(
        states.mean(0), np.maximum(states.std(0), 1e-3), scale, low, np.maximum(high, low + 0.1)
    )
