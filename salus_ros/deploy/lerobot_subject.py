"""A LeRobot policy in the configurations that it has: SmolVLA's fast path, others as they are.

Nothing is known of the task that it was trained for, so images are noise and joints are drawn:
times and arithmetic are judged on them, not what the policy is good at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.utils.constants import OBS_STATE
from torch import nn

from salus_ros.deploy.levers import CompileError, Grid, Levers, horizon_values, step_values
from salus_ros.deploy.subject import samplers_of
from salus_ros.interfaces import FloatArray, JointState, Observation
from salus_ros.policy.description import sha256
from salus_ros.policy.lerobot.backend import PRECISIONS, LeRobotBackend
from salus_ros.policy.lerobot.errors import CheckpointError
from salus_ros.policy.lerobot.loading import WEIGHTS, folder_of, read_config
from salus_ros.policy.lerobot.mapping import PolicyMapping, load_mapping
from salus_ros.policy.quantization.precision import PRECISIONS as ALL_PRECISIONS
from salus_ros.policy.quantization.precision import weight_bytes

SEED = 0
SPREAD = 0.3
"""Of the joints that are drawn [rad]."""
INSTRUCTION = "pick up the block"


class BuiltLeRobot:
    """A LeRobotBackend; each call begins anew, so that calls don't depend on their order."""

    def __init__(self, backend: LeRobotBackend, observations: tuple[Observation, ...]) -> None:
        self._backend, self._observations = backend, observations

    def __call__(self, number: int) -> FloatArray:
        """The chunk in the policy's normalised units; all that a prediction takes is run."""
        number %= len(self._observations)
        observation = self._observations[number]
        self._backend.reset()
        # Most policies draw from PyTorch's own generator: the same input is the same draw.
        torch.manual_seed(SEED + number)
        drawn = self._backend.draw(observation)
        self._backend.prediction(observation, drawn)
        return np.asarray(drawn.actions[0].double().cpu().numpy())

    def warm_up(self) -> None:
        """The policy's own."""
        self._backend.warm_up()

    def weight_bytes(self) -> int:
        """Of all its weights."""
        return weight_bytes(self._backend.policy)

    def drafts(self) -> tuple[int, int]:
        """None."""
        return 0, 0

    def module(self) -> nn.Module:
        """LeRobot's policy."""
        return self._backend.policy


@dataclass(frozen=True, slots=True)
class LeRobotSubject:
    """checkpoint: folder. kind: LeRobot's name of the policy. steps: of a flow, 0: none.

    joint_names, gripper_name: stand for the robot's. context: hashes of configuration and mapping.
    See Subject.
    """

    checkpoint: str
    mapping: str
    device: str
    digest: str
    kind: str
    rows: int
    time_step: float
    steps: int
    joint_names: tuple[str, ...]
    gripper_name: str
    context: str
    observations: tuple[Observation, ...] = field(repr=False)
    name: str = "lerobot"

    @property
    def inputs(self) -> int:
        """Observations."""
        return len(self.observations)

    def grid(self) -> Grid:
        """Of SmolVLA precision, steps and sampler; of others the horizon alone."""
        smolvla = self.kind == "smolvla"
        samplers, left_out = samplers_of(self.device)
        precisions = PRECISIONS if smolvla else PRECISIONS[:1]
        why = "weights of LeRobot's policies are used in place, as plain matrices"
        left_out |= {f"precision={p}": why for p in ALL_PRECISIONS if p not in precisions}
        left_out["sampler=traced"] = "a LeRobot policy is not traced"
        left_out["early_exit=certified"] = "no probes are fitted for it"
        values = {
            "precision": precisions,
            "flow_steps": step_values(self.steps) if smolvla else (self.steps,),
            "sampler": tuple(s for s in samplers if s == "eager" or (smolvla and s == "graph")),
            "early_exit": ("off",),
            "draft_steps": (0,),
            "execution_horizon": horizon_values(self.rows),
        }
        return Grid(values, left_out)

    def build(self, levers: Levers, exact: bool = False) -> BuiltLeRobot:
        """See Subject."""
        options = self.options(levers)
        if exact:
            options["sampler"] = "eager"
        robot = self.joint_names, self.gripper_name, levers.execution_horizon
        backend = LeRobotBackend(*robot, **options)
        if exact:
            backend.make_exact()
        return BuiltLeRobot(backend, self.observations)

    def options(self, levers: Levers) -> dict[str, Any]:
        """Of LeRobotBackend."""
        options: dict[str, Any] = {
            "checkpoint": self.checkpoint,
            "mapping": self.mapping,
            "device": self.device,
        }
        if self.kind != "smolvla":
            return options
        return options | {
            "precision": levers.precision,
            "flow_steps": levers.flow_steps,
            "sampler": levers.sampler,
        }


def make_lerobot_subject(checkpoint: str, mapping: str, device: str, inputs: int) -> LeRobotSubject:
    """Raises CompileError, CheckpointError or FileNotFoundError, in one line."""
    if not mapping:
        raise CompileError(
            f"{checkpoint} is a LeRobot policy: say with --mapping which file maps it to the robot"
        )
    folder, mapping_file = folder_of(checkpoint), Path(mapping).expanduser().resolve()
    config, layout = read_config(folder), load_mapping(mapping_file)
    joint_names, gripper_name = _robot(layout, config)
    unknown = sorted(set(layout.cameras.values()) - set(config.image_features))
    if unknown:
        raise CheckpointError(
            f"the policy has no image feature '{unknown[0]}'; it has: "
            f"{', '.join(config.image_features) or 'none'}"
        )
    shapes = {c: config.image_features[key].shape[1:] for c, key in layout.cameras.items()}
    return LeRobotSubject(
        checkpoint=str(folder.resolve()),
        mapping=str(mapping_file),
        device=device,
        digest=sha256(folder / WEIGHTS),
        kind=config.type,
        context=f"{sha256(folder / 'config.json')} {sha256(mapping_file)}",
        rows=_rows(config),
        time_step=1.0 / layout.rate,
        steps=int(getattr(config, "num_steps", 0)),
        joint_names=joint_names,
        gripper_name=gripper_name,
        observations=tuple(_observations(shapes, len(joint_names), bool(gripper_name), inputs)),
    )


def _rows(config: Any) -> int:
    """Of what the policy predicts in one go."""
    for name in ("chunk_size", "action_chunk_size", "n_action_steps"):
        if getattr(config, name, 0):
            return int(getattr(config, name))
    raise CompileError(f"policy '{config.type}' doesn't say how long its chunks are")


def _robot(mapping: PolicyMapping, config: Any) -> tuple[tuple[str, ...], str]:
    """Joints and gripper of a robot that policy and mapping fit."""
    if config.action_feature is None:
        raise CheckpointError("the policy has no output feature 'action'")
    dims, joints = int(config.action_feature.shape[0]), len(mapping.joints)
    state, parts = config.input_features.get(OBS_STATE), set(mapping.state) - {"gripper"}
    if not joints and state is not None and parts:
        joints = (int(state.shape[0]) - ("gripper" in mapping.state)) // len(parts)
    gripper = joints == dims - 1 if joints else "gripper" in mapping.state
    names = mapping.joints or tuple(f"joint{n}" for n in range(joints or dims - gripper))
    return names, "gripper" if gripper else ""


def _observations(
    shapes: dict[str, tuple[int, int]], joints: int, gripper: bool, count: int
) -> list[Observation]:
    draw = np.random.default_rng(SEED)
    found = []
    for _ in range(count):
        positions = draw.normal(size=joints) * SPREAD
        still, width = np.zeros(joints), 0.04 if gripper else None
        images = {
            camera: draw.integers(0, 256, (*shape, 3), dtype=np.uint8)
            for camera, shape in shapes.items()
        }
        state = JointState(0, positions, still, still, width)
        found.append(Observation(0, state, INSTRUCTION, images))
    return found
