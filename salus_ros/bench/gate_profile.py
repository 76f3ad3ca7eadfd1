"""Where a tick's time goes: callables of the gate, wrapped from outside while a bench runs.

Nothing in the gate knows of this. Times include what a callable calls, so nested ones are in their
caller's, too. A wrapper costs some 0.3 us a call: figures for the whole tick are taken without.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import wraps
from importlib import import_module
from time import monotonic_ns
from types import MappingProxyType, ModuleType
from typing import Any

_SUPERVISION = "salus_ros.supervision"
_NODE = "salus_ros.nodes.safety_supervisor"
DETECTORS = "8 detectors"

PROFILED: Mapping[str, str] = MappingProxyType(
    {
        # Of a chunk, when it comes in.
        "chunk: message to plain arrays": "salus_ros.nodes.conversions:action_chunk",
        "chunk: 1 shape and names": f"{_SUPERVISION}.chunk_checks:check_shape",
        "chunk: 2 finite": f"{_SUPERVISION}.chunk_checks:check_finite",
        "chunk: 3 fresh and in order": f"{_SUPERVISION}.freshness:ChunkOrder.check",
        "chunk: 4 position limits": f"{_SUPERVISION}.chunk_checks:check_positions",
        "chunk: 4 velocity, acceleration, jerk": f"{_SUPERVISION}.chunk_checks:worst_excess",
        "chunk: curve through its first rows": f"{_SUPERVISION}.intake:make_plan",
        # Of the rest of its check, in slices after that.
        "chunk: 6 workspace and tool speed": f"{_SUPERVISION}.plan_completion:check_space",
        "chunk: a pass of smoothing": f"{_SUPERVISION}.reference:Smoothing.advance",
        "chunk: slices, with these": f"{_SUPERVISION}.chunk_reception:ChunkReception.advance",
        # Of a tick.
        "3 joint state's age, 7 tracking": f"{_SUPERVISION}.measurement:Measurement.causes",
        "3 plan's age": f"{_SUPERVISION}.plan_keeper:PlanKeeper.causes",
        "heartbeats": f"{_SUPERVISION}.parties:Heartbeats.causes",
        DETECTORS: f"{_SUPERVISION}.detector_guard:DetectorGuard.causes",
        "9 failure prediction": f"{_SUPERVISION}.prediction_gate:PredictionGate.causes",
        "10 enable switch": f"{_SUPERVISION}.prediction_gate:EnableSwitch.causes",
        "motion, with 5 and 6": f"{_SUPERVISION}.follower:Follower.move",
        "5 can still stop, with 6": f"{_SUPERVISION}.stop:Stop.certify",
        "6 workspace and tool speed of a stop": f"{_SUPERVISION}.space_guard:SpaceGuard.blocks",
        "4 distance from the plan": f"{_SUPERVISION}.plan_judge:PlanJudge.judge",
        "modes": f"{_SUPERVISION}.modes:ModeMachine.update",
        "the command's message": "salus_ros.nodes.command_message:CommandMessage.serialized",
        "publishing, all topics": "rclpy.publisher:Publisher.publish",
        "state, with its publishing": f"{_NODE}:SafetySupervisor._publish_state",
    }
)


class Profile:
    """Sums up each callable's time between two calls of `flush`. A context manager.

    times: by group and callable, one sum [ns] for each flush in which it was called.
    """

    def __init__(self) -> None:
        self.times: dict[str, dict[str, list[int]]] = {}
        self._sums: dict[str, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Profile:
        for name, place in PROFILED.items():
            owner, attribute = find(place)
            original = getattr(owner, attribute)
            timed = self._timed(name, original)
            for holder in holders(owner, attribute):
                setattr(holder, attribute, timed)
                self._stack.callback(setattr, holder, attribute, original)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        sums = self._sums

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = monotonic_ns()
            try:
                return call(*args, **kwargs)
            finally:
                sums[name] = sums.get(name, 0) + monotonic_ns() - begin

        return timed

    def flush(self, group: str) -> None:
        """Keep the sums so far, as of one tick or one chunk."""
        kept = self.times.setdefault(group, {})
        for name, total in self._sums.items():
            kept.setdefault(name, []).append(total)
        self._sums.clear()


def holders(owner: Any, attribute: str) -> list[Any]:
    """Owner, and for a function each module of this package that has imported it by its name."""
    if not isinstance(owner, ModuleType):
        return [owner]
    original = getattr(owner, attribute)
    ours = [module for name, module in sys.modules.items() if name.startswith("salus_ros.")]
    return [module for module in ours if getattr(module, attribute, None) is original]


def find(place: str) -> tuple[Any, str]:
    """Owner and attribute of a "module:Class.method" or "module:function".

    Raises ImportError or AttributeError where there is none: then PROFILED is out of date.
    """
    module, _, path = place.partition(":")
    owner: Any = import_module(module)
    *parents, attribute = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    getattr(owner, attribute)
    return owner, attribute
