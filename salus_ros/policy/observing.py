"""The newest input of each kind, put together into one observation of one moment."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import BlockPose, Instant, JointState, Observation, nanoseconds

Content = TypeVar("Content")

JOINT_HISTORY = 500
"""Joint states kept, to find the one that belongs to an image: 0.5 s at 1 kHz."""


@dataclass(frozen=True, slots=True)
class FreshnessBounds:
    """Largest ages [s] at which an input still counts, from its arrival on a steady clock."""

    joints: float = 0.1
    image: float = 0.5
    blocks: float = 0.5


@dataclass(frozen=True)
class _Input(Generic[Content]):
    stamp: int
    arrival: int
    content: Content


class ObservationBuffer:
    """Takes inputs from one thread, hands out observations to another.

    cameras: names of the images that an observation needs. privileged: whether it needs the
    blocks' true poses. An observation is of the moment of its oldest image (or block poses), with
    the joint state of that moment: what a policy sees belongs together.
    """

    def __init__(
        self, cameras: tuple[str, ...], privileged: bool, bounds: FreshnessBounds | None = None
    ) -> None:
        self._cameras = cameras
        self._privileged = privileged
        self._bounds = bounds or FreshnessBounds()
        self._lock = threading.Lock()
        self._joints: deque[JointState] = deque(maxlen=JOINT_HISTORY)
        self._joints_arrival: int | None = None
        self._images: dict[str, _Input[NDArray[np.uint8]]] = {}
        self._blocks: _Input[tuple[BlockPose, ...]] | None = None
        self._instruction = ""

    def clear(self) -> None:
        """Forget all measurements, so that only what comes from now on is seen."""
        with self._lock:
            self._joints.clear()
            self._joints_arrival = None
            self._images.clear()
            self._blocks = None

    def on_joints(self, joints: JointState, now: Instant) -> None:
        """A joint state arrived. One older than the last means that the clock was set back."""
        with self._lock:
            if self._joints and joints.stamp < self._joints[-1].stamp:
                self._joints.clear()
            self._joints.append(joints)
            self._joints_arrival = now.steady

    def on_image(self, camera: str, image: NDArray[np.uint8], stamp: int, now: Instant) -> None:
        """An image arrived, [height, width, 3] uint8 RGB."""
        with self._lock:
            self._images[camera] = _Input(stamp, now.steady, image)

    def on_blocks(self, blocks: tuple[BlockPose, ...], stamp: int, now: Instant) -> None:
        """True poses arrived."""
        with self._lock:
            self._blocks = _Input(stamp, now.steady, blocks)

    def on_instruction(self, instruction: str) -> None:
        """The task in words; it stands until the next one."""
        with self._lock:
            self._instruction = instruction

    def observation(self, now: Instant) -> Observation | str:
        """An observation, or one line that says what is lacking for it."""
        with self._lock:
            lacking = self._lacking(now.steady)
            if lacking:
                return lacking
            stamps = [self._images[camera].stamp for camera in self._cameras]
            blocks = self._blocks if self._privileged else None
            if blocks is not None:
                stamps.append(blocks.stamp)
            joints = self._joints_at(min(stamps) if stamps else None)
            return Observation(
                stamp=joints.stamp,
                joints=joints,
                instruction=self._instruction,
                images={camera: self._images[camera].content for camera in self._cameras},
                privileged_blocks=() if blocks is None else blocks.content,
            )

    def _joints_at(self, stamp: int | None) -> JointState:
        if stamp is None:
            return self._joints[-1]
        return min(reversed(self._joints), key=lambda joints: abs(joints.stamp - stamp))

    def _lacking(self, steady: int) -> str:
        bounds = self._bounds
        if not self._instruction.strip():
            return "no instruction"
        if _is_old(self._joints_arrival, steady, bounds.joints):
            return f"no joint state within {bounds.joints:g} s"
        for camera in self._cameras:
            if _is_old(_arrival(self._images.get(camera)), steady, bounds.image):
                return f"no image of camera '{camera}' within {bounds.image:g} s"
        if self._privileged and _is_old(_arrival(self._blocks), steady, bounds.blocks):
            return f"no block poses within {bounds.blocks:g} s: this policy needs the simulated rig"
        return ""


def _arrival(content: _Input[Any] | None) -> int | None:
    return None if content is None else content.arrival


def _is_old(arrival: int | None, now: int, bound: float) -> bool:
    return arrival is None or now - arrival > nanoseconds(bound)
