"""The built-in flow policy in any configuration, on observations of the rig."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from salus_ros.deploy.levers import Grid, Levers, horizon_values, step_values
from salus_ros.deploy.observations import rig_observations
from salus_ros.deploy.subject import samplers_of
from salus_ros.interfaces import FloatArray, Observation, seconds
from salus_ros.policy.description import sha256
from salus_ros.policy.early_exit.files import load_early_exit
from salus_ros.policy.early_exit.settings import EarlyExitError
from salus_ros.policy.flow.backend import FlowBackend
from salus_ros.policy.flow.checkpoint import SHIPPED, WEIGHTS, load_checkpoint
from salus_ros.policy.quantization.precision import PRECISIONS, weight_bytes

DRAFTS = (0, 2, 1)
EXITS = ("certified",)
"""Of a checkpoint's settings, those that are tried unless others are asked for."""


class BuiltFlow:
    """A FlowBackend; each call is a first chunk, so that calls don't depend on their order."""

    def __init__(self, backend: FlowBackend, observations: tuple[Observation, ...]) -> None:
        self._backend, self._observations = backend, observations

    def __call__(self, number: int) -> FloatArray:
        """The chunk, in the network's units: joints relative to the start."""
        observation = self._observations[number % len(self._observations)]
        self._backend.reset()
        actions = self._backend.predict(observation).actions
        joints = observation.joints
        start = np.array([*joints.positions, joints.gripper])
        return np.asarray(self._backend.normalisation.normalise(actions, start))

    def warm_up(self) -> None:
        """The policy's own."""
        self._backend.warm_up()

    def weight_bytes(self) -> int:
        """The network's, and those of narrow MLPs."""
        narrow = [
            tensor
            for mlp in self._backend.network.narrow_mlps()
            for parts in mlp.narrow.values()
            for tensor in parts
        ]
        held: dict[int, int] = {
            t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in narrow
        }
        return weight_bytes(self._backend.network) + sum(held.values())

    def drafts(self) -> tuple[int, int]:
        """Accepted and all."""
        return self._backend.drafts

    def module(self) -> nn.Module:
        """The network."""
        return self._backend.network


@dataclass(frozen=True, slots=True)
class FlowSubject:
    """checkpoint: folder, "" for the shipped one; see Subject."""

    checkpoint: str
    device: str
    digest: str
    rows: int
    time_step: float
    steps: int
    exits: tuple[str, ...]
    why_no_exits: str
    observations: tuple[Observation, ...] = field(repr=False)
    context: str = ""
    name: str = "flow"

    @property
    def inputs(self) -> int:
        """Observations."""
        return len(self.observations)

    def grid(self) -> Grid:
        """All levers."""
        samplers, left_out = samplers_of(self.device)
        if not self.exits:
            left_out["early_exit=certified"] = self.why_no_exits
        values = {
            "precision": PRECISIONS,
            "flow_steps": step_values(self.steps),
            "sampler": samplers,
            "early_exit": ("off", *self.exits),
            "draft_steps": tuple(d for d in DRAFTS if d < self.steps),
            "execution_horizon": horizon_values(self.rows),
        }
        return Grid(values, left_out)

    def build(self, levers: Levers, exact: bool = False) -> BuiltFlow:
        """See Subject."""
        options = self.options(levers)
        if exact:
            options["sampler"] = "eager"
        backend = FlowBackend(**options)
        if exact:
            backend.make_exact()
        return BuiltFlow(backend, self.observations)

    def options(self, levers: Levers) -> dict[str, Any]:
        """Of FlowBackend."""
        return {
            "checkpoint": self.checkpoint,
            "device": self.device,
            "precision": levers.precision,
            "sampler": levers.sampler,
            "flow_steps": levers.flow_steps,
            "draft_steps": levers.draft_steps,
            "early_exit": levers.early_exit,
        }


def make_flow_subject(checkpoint: str, device: str, inputs: int) -> FlowSubject:
    """Raises CheckpointError where the folder holds no flow policy."""
    folder = Path(checkpoint).expanduser().resolve() if checkpoint else SHIPPED
    config = load_checkpoint(folder).config
    exits, why = _exits(folder)
    return FlowSubject(
        checkpoint=str(folder) if checkpoint else "",
        device=device,
        digest=sha256(folder / WEIGHTS),
        rows=config.rows,
        time_step=seconds(config.time_step),
        steps=config.steps,
        exits=exits,
        why_no_exits=why,
        observations=tuple(rig_observations(inputs)),
    )


def _exits(folder: Path) -> tuple[tuple[str, ...], str]:
    try:
        settings = load_early_exit(folder, folder / WEIGHTS).settings
    except EarlyExitError as error:
        return (), str(error)
    first = [name for name in EXITS if name in settings]
    return tuple(first), f"this checkpoint has only {json.dumps(sorted(settings))}"
