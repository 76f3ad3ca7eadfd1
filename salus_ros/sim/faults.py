"""How a disturbance acts on the simulation.

The model is shared by all episodes of a rig, so whatever is changed in it is put back by `clear`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.sim.disturbances import Disturbance
from salus_ros.sim.scene import Scene
from salus_ros.sim.tasks import Task

PUSH_TIME = 300_000_000
"""How long a push lasts [ns]."""
_CAMERA_FAULTS = ("camera_covered", "camera_blurred", "camera_shifted")
_PHYSICAL = ("block_pushed", "block_slippery", "actuator_weakened", "joint_friction")
# A push is a soft one: it yields where the block is stuck between the fingers.
_PUSH_GAIN, _PUSH_FORCE = 20.0, 1.5
# In the model the fingers' friction is what counts in a grasp, whatever the block's is; on the
# table a block that is slippery to rubber slides as before.
_PADS = ("left_pad1", "left_pad2", "right_pad1", "right_pad2")


class Faults:
    """The disturbance of one episode, in force; None: undisturbed."""

    def __init__(self, scene: Scene, disturbance: Disturbance | None, color: str) -> None:
        """`color`: the task's block."""
        self.disturbance = disturbance
        self.name = disturbance.name if disturbance else ""
        self.active = self.name in _PHYSICAL
        self._model = scene.model
        self._block_velocity = scene.block_qvel[color]
        self._pads = [int(scene.model.geom(name).id) for name in _PADS]
        self._pad_friction = scene.model.geom_friction[self._pads, 0].copy()

    def clear(self) -> None:
        """Put the model back as it was."""
        self._model.geom_friction[self._pads, 0] = self._pad_friction
        self._model.dof_frictionloss[:7] = 0.0

    def apply(self, data: Any, torques: FloatArray, time: int) -> FloatArray:
        """Act on a physics step at `time` [ns] of the episode; the torques [7] Nm that are left."""
        fault = self.disturbance
        if fault is None or time < fault.onset:
            return torques
        if self.name == "actuator_weakened":
            weak: FloatArray = torques * (1.0 - min(fault.magnitude, 1.0))
            return weak
        if self.name == "joint_friction":
            self._model.dof_frictionloss[:7] = fault.magnitude * _FRICTION_SHARE
        elif self.name == "block_slippery":
            self._model.geom_friction[self._pads, 0] = fault.magnitude
        else:
            self._push(data, fault, time - fault.onset)
        return torques

    def _push(self, data: Any, fault: Disturbance, elapsed: int) -> None:
        """Force on the block: towards the push's speed, bounded; none once the push is over."""
        a = self._block_velocity
        speed = fault.magnitude / (PUSH_TIME * 1e-9)
        for i, share in enumerate((np.cos(fault.direction), np.sin(fault.direction))):
            force = _PUSH_GAIN * (speed * share - float(data.qvel[a + i]))
            bounded = min(max(force, -_PUSH_FORCE), _PUSH_FORCE)
            data.qfrc_applied[a + i] = bounded if elapsed < PUSH_TIME else 0.0

    def observation_delay(self, time: int) -> int:
        """How late observations are delivered at `time` [ns] of the episode [ns]."""
        fault = self.disturbance
        if fault is None or self.name != "latency" or time < fault.onset:
            return 0
        return round(fault.magnitude * 1e9)

    def camera_fault(self, time: int) -> Disturbance | None:
        """The camera disturbance that is in force at `time` [ns] of the episode."""
        fault = self.disturbance
        if fault is None or self.name not in _CAMERA_FAULTS or time < fault.onset:
            return None
        return fault

    @property
    def block_shift(self) -> FloatArray | None:
        """By how much (x, y) [m] the blocks' area is moved, where it is."""
        fault = self.disturbance
        if fault is None or self.name != "block_moved":
            return None
        side = 1.0 if fault.direction > 0 else -1.0
        return np.array([0.0, side * fault.magnitude])


# The small wrist joints have small motors.
_FRICTION_SHARE = np.array([1.0, 1.0, 1.0, 1.0, 0.2, 0.2, 0.2])


def wrong_task(task: Task, colors: tuple[str, ...], rng: np.random.Generator) -> Task:
    """The same task with another of the colours on the table."""
    others = [c for c in colors if c != task.color]
    return Task(task.action, str(rng.choice(others)))
