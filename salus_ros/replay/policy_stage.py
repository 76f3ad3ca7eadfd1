"""The policy once more on a recording: what it saw, what it says now, and when that would act.

The recording is not changed by what the policy says: the arm, the images and the joint states are
those of the chunks that were executed then.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from salus_ros import message_reading
from salus_ros.interfaces import ActionChunk, Instant, PolicyState
from salus_ros.nodes import topics
from salus_ros.policy.backend import Backend, PolicyError, Prediction
from salus_ros.policy.chunk_queue import QueueConfig
from salus_ros.policy.loop import InferenceLoop, LoopConfig, Pending
from salus_ros.policy.observing import FreshnessBounds, ObservationBuffer
from salus_ros.policy.registry import BACKEND_NAMES, make_backend, option_names
from salus_ros.replay.delays import Delay
from salus_ros.replay.errors import BagError
from salus_ros.replay.event_reader import Event
from salus_ros.replay.settings import Settings
from salus_ros.replay.topic_map import camera_of
from salus_ros.resources import CHECKOUT

SOURCE = "replay"
Take = Callable[[ActionChunk, PolicyState, int], None]


@dataclass(frozen=True)
class PolicyOptions:
    """policy: a name, or a path of a checkpoint. options: of its constructor. delay: see delays."""

    policy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    delay: str = "recorded"

    def describe(self) -> dict[str, Any]:
        """For the report."""
        return {"name": self.policy, "options": dict(self.options), "delay": self.delay}

    def weights(self) -> dict[str, str]:
        """SHA-256 of the checkpoint's files, by name."""
        name, options = policy_of(self)
        folder = Path(str(options.get("checkpoint", "")))
        if name == "flow" and not options.get("checkpoint"):
            folder = CHECKOUT / "salus_ros" / "policy" / "flow" / "weights"
        if not (options.get("checkpoint") or name == "flow") or not folder.is_dir():
            return {}
        files = (p for p in sorted(folder.iterdir()) if p.suffix in (".safetensors", ".json"))
        return {f"policy/{p.name}": hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def policy_of(told: PolicyOptions) -> tuple[str, dict[str, Any]]:
    """The policy's name and its options. Raises BagError for what is neither name nor path."""
    if told.policy in BACKEND_NAMES:
        return told.policy, dict(told.options)
    path = Path(told.policy).expanduser()
    if not path.exists():
        known = ", ".join(BACKEND_NAMES)
        raise BagError(f"policy '{told.policy}' is no path, nor one of {known}")
    name = "lerobot" if (path / "config.json").is_file() else "flow"
    return name, {**told.options, "checkpoint": str(path)}


def loaded(told: PolicyOptions, settings: Settings) -> Backend:
    """The policy, warmed up; kept for the next bag. Raises BagError, one line."""
    name, options = policy_of(told)
    robot = {
        "joint_names": settings.joint_names,
        "gripper_name": settings.gripper_name,
        "execution_horizon": settings.policy["execution_horizon"],
    }
    try:
        taken = {key: value for key, value in robot.items() if key in option_names(name)}
        return _made(name, tuple(sorted({**taken, **options}.items())))
    except (ValueError, RuntimeError, OSError, TypeError) as error:
        raise BagError(f"policy '{told.policy}': {error}") from None


@lru_cache(maxsize=1)
def _made(name: str, options: tuple[tuple[str, Any], ...]) -> Backend:
    backend = make_backend(name, dict(options))
    backend.warm_up()
    return backend


class PolicyStage:
    """Feeds the policy with what was recorded; hands out its chunks when they would have come."""

    def __init__(self, backend: Backend, settings: Settings, delay: Delay, take: Take) -> None:
        told = settings.policy
        self._backend, self._delay, self._take = backend, delay, take
        self._now = Instant(0, 0)
        queue = QueueConfig(
            joint_names=settings.joint_names,
            gripper_name=settings.gripper_name,
            execution_horizon=told["execution_horizon"],
            merging=told["merging"],
            rtc_schedule=told["rtc_schedule"],
        )
        config = LoopConfig(percentile=told["latency_percentile"])
        self._loop = InferenceLoop(backend, queue, lambda: self._now, config, lambda: SOURCE)
        self._loop.activate()
        bounds = FreshnessBounds(told["joint_state_age"], told["image_age"])
        self._buffer = ObservationBuffer(backend.cameras, backend.privileged, bounds)
        self._pending: tuple[Pending, Prediction, int] | None = None
        # Why there is no plan: what was lacking for an observation, or what the policy said.
        self.problem = ""

    def on_event(self, event: Event, now: Instant) -> None:
        """What the policy's node would hear of."""
        topic, content = event.topic, event.content
        if topic == topics.JOINT_STATES:
            self._buffer.on_joints(content, now)
        elif topic == topics.INSTRUCTION:
            self._buffer.on_instruction(content)
        elif topic == topics.SIM_BLOCKS and content.markers:
            stamp = message_reading.stamp_of(content.markers[0].header.stamp)
            self._buffer.on_blocks(message_reading.block_poses(content), stamp, now)
        elif camera_of(topic):
            image, stamp = content
            self._buffer.on_image(camera_of(topic), image, stamp, now)

    def advance(self, now: Instant) -> None:
        """Take the chunk whose time has come; begin an inference where one is due."""
        self._now = now
        if self._pending is not None and now.ros >= self._pending[2]:
            pending, prediction, _ = self._pending
            self._pending = None
            outcome = self._loop.finish(pending, prediction)
            if outcome.plan is not None and outcome.state is not None:
                self._take(outcome.plan.chunk, outcome.state, now.ros)
        if self._pending is None and self._loop.wait_seconds(now) == 0.0:
            self._begin(now)

    def _begin(self, now: Instant) -> None:
        observation = self._buffer.observation(now)
        if isinstance(observation, str):
            self.problem = observation
            return
        pending = self._loop.begin(observation)
        if pending is None:
            return
        began = time.perf_counter()
        try:
            prediction = self._loop.predict(pending)
        except PolicyError as error:
            self.problem = " ".join(str(error).split())
            return
        delay = self._delay(time.perf_counter() - began)
        self._pending = (pending, prediction, now.ros + delay)
