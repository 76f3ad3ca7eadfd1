"""Any LeRobot policy as a backend: observation in, absolute targets in the robot's units out."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from salus_ros.interfaces import (
    ActionDistribution,
    FloatArray,
    JointState,
    Observation,
    nanoseconds,
)
from salus_ros.policy.backend import PolicyError, Prediction
from salus_ros.policy.lerobot.checks import check
from salus_ros.policy.lerobot.errors import CheckpointError
from salus_ros.policy.lerobot.loading import Checkpoint, load_checkpoint
from salus_ros.policy.lerobot.mapping import RobotLayout, load_mapping
from salus_ros.policy.lerobot.runners import Drawn, LeRobotRunner, Runner, SmolVLARunner
from salus_ros.policy.lerobot.smolvla.sampler import obstacle
from salus_ros.policy.lerobot.statistics import action_range
from salus_ros.signals.distribution import distribution_of_samples

log = logging.getLogger(__name__)

PRECISIONS = ("float32", "bfloat16")
SAMPLERS = ("", "eager", "graph")
WARM_UP_RUNS = 2


class LeRobotBackend:
    """A LeRobot policy with its own processors.

    checkpoint: folder or hub id. mapping: file that says how its features correspond to the robot
    (see mapping.py). joint_names, gripper_name: the robot's, in the order of all vectors.
    execution_horizon: rows that the action distribution is taken over. device: "" is CUDA where
    there is one. precision, action_samples: of SmolVLA alone, other policies give one sample, in
    the precision that they are saved in. seed: of the noise. flow_steps, sampler (eager or graph):
    of SmolVLA as well; 0: as trained, "": graphs where there is CUDA.

    Raises CheckpointError or FileNotFoundError, in one line, where policy and robot don't fit.
    """

    privileged = False

    def __init__(
        self,
        joint_names: Sequence[str],
        gripper_name: str,
        execution_horizon: int,
        checkpoint: str = "",
        mapping: str = "",
        device: str = "",
        precision: str = "float32",
        action_samples: int = 8,
        dropout_passes: int = 0,
        seed: int = 0,
        flow_steps: int = 0,
        sampler: str = "",
    ) -> None:
        for name, value in (("checkpoint", checkpoint), ("mapping", mapping)):
            if not value:
                raise CheckpointError(f"policy 'lerobot' needs the parameter {name}, which is ''")
        if sampler not in SAMPLERS:
            raise CheckpointError(f"sampler is '{sampler}': allowed is {', '.join(SAMPLERS[1:])}")
        if action_samples < 1:
            raise CheckpointError(f"action_samples is {action_samples}: it must be at least 1")
        self._mapping = load_mapping(Path(mapping).expanduser())
        self._layout = RobotLayout(self._mapping, tuple(joint_names), gripper_name)
        self._device = _device(device)
        model = self._mapping.vision_language_model
        self._loaded = load_checkpoint(checkpoint, str(self._device), model)
        check(self._loaded, self._mapping, self._layout)
        _refuse_dropout(self._loaded.config.type, dropout_passes)
        _set_precision(self._loaded, precision)
        _set_steps(self._loaded.config, flow_steps)
        if sampler == "graph" and self._loaded.config.type != "smolvla":
            raise CheckpointError("sampler 'graph' is for SmolVLA; this is another policy")
        self._noise, self._graphs = (action_samples, seed), sampler != "eager"
        self._runner = self._make_runner()
        self._range = action_range(self._loaded.postprocess)
        self._window = execution_horizon
        self._time_step = nanoseconds(1.0 / self._mapping.rate)
        self.cameras: tuple[str, ...] = tuple(self._mapping.cameras)

    @property
    def policy(self) -> Any:
        """LeRobot's own, with its configuration."""
        return self._loaded.policy

    def make_exact(self) -> None:
        """Go over to plain float32 arithmetic with the same weights, one operation at a time.

        For comparison with what this policy would run as.
        """
        self.policy.float()
        self._graphs = False
        self._runner = self._make_runner()

    def _make_runner(self) -> Runner:
        policy, config = self._loaded.policy, self._loaded.config
        if config.type != "smolvla":
            return LeRobotRunner(policy)
        problem = obstacle(config)
        if problem:
            log.warning("SmolVLA runs as LeRobot's, without the fast path: %s", problem)
            return LeRobotRunner(policy)
        given = set(self._mapping.cameras.values())
        keys = tuple(key for key in config.image_features if key in given)
        return SmolVLARunner(policy, keys, *self._noise, self._graphs)

    def warm_up(self) -> None:
        """Run on blank images, capturing CUDA graphs on the way."""
        features = self._loaded.config.image_features
        images = {
            camera: np.zeros((*features[key].shape[1:], 3), np.uint8)
            for camera, key in self._mapping.cameras.items()
        }
        still = np.zeros(self._layout.joints)
        gripper = 0.0 if self._layout.has_gripper else None
        blank = Observation(0, JointState(0, still, still, still, gripper), "warm up", images)
        for _ in range(WARM_UP_RUNS):
            self.predict(blank)
        self.reset()

    def reset(self) -> None:
        """Forget past observations."""
        self._runner.reset()

    def predict(self, observation: Observation) -> Prediction:
        """One chunk; its first row is due at the observation's stamp."""
        return self.prediction(observation, self.draw(observation))

    def draw(self, observation: Observation) -> Drawn:
        """What the policy itself says, in its normalised units."""
        begin = time.perf_counter()
        batch = self._loaded.preprocess(self._frame(observation))
        prepared = time.perf_counter()
        drawn = self._runner(batch)
        stages = {"preprocess": prepared - begin, **drawn.stage_seconds}
        return replace(drawn, stage_seconds=stages)

    def prediction(self, observation: Observation, drawn: Drawn) -> Prediction:
        """What was drawn for an observation, in the robot's units."""
        begin = time.perf_counter()
        samples = self._actions(drawn)
        prediction = Prediction(
            actions=self._layout.targets(samples[0], observation.joints),
            time_step=self._time_step,
            latent=_latent(drawn),
            distribution=self._distribution(samples),
            stage_seconds=dict(drawn.stage_seconds),
        )
        prediction.stage_seconds["postprocess"] = time.perf_counter() - begin
        return prediction

    def _frame(self, observation: Observation) -> dict[str, Any]:
        """An observation as LeRobot's processors take it, batch size 1."""
        frame: dict[str, Any] = {"task": observation.instruction, "robot_type": ""}
        for camera, key in self._mapping.cameras.items():
            if camera not in observation.images:
                raise PolicyError(f"the observation holds no image of camera '{camera}'")
            frame[key] = self._image(camera, key, observation.images[camera])
        if self._mapping.state:
            state = torch.from_numpy(self._layout.state(observation.joints))
            frame["observation.state"] = state[None].to(self._device)
        return frame

    def _image(self, camera: str, key: str, image: NDArray[np.uint8]) -> torch.Tensor:
        """[1, 3, height, width] float32 in [0, 1]."""
        config = self._loaded.config
        wanted = tuple(config.image_features[key].shape[1:])
        if config.type != "smolvla" and image.shape[:2] != wanted:
            raise PolicyError(
                f"camera '{camera}' gives {image.shape[0]} x {image.shape[1]} pixels; the policy "
                f"was trained with {wanted[0]} x {wanted[1]} of '{key}'"
            )
        pixels = torch.tensor(image).to(self._device)
        return (pixels.permute(2, 0, 1).contiguous().to(torch.float32) / 255.0)[None]

    def _actions(self, drawn: Drawn) -> FloatArray:
        """[S, rows, dims] in the policy's own units."""
        samples, rows, dims = drawn.actions.shape
        # A row at a time is what LeRobot's post-processors are made for: rows are their batch.
        actions = self._loaded.postprocess(drawn.actions.reshape(samples * rows, dims))
        return np.asarray(actions.double().cpu().numpy()).reshape(samples, rows, dims)

    def _distribution(self, samples: FloatArray) -> ActionDistribution | None:
        if len(samples) == 1 or self._range is None:
            return None
        return distribution_of_samples(samples[:, : self._window], *self._range)


def _device(name: str) -> torch.device:
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        line = " ".join(str(error).split())
        raise CheckpointError(f"device '{name}' is none that PyTorch knows: {line}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CheckpointError(f"device '{name}': PyTorch finds no CUDA here; use device: cpu")
    return device


def _latent(drawn: Drawn) -> NDArray[np.float32]:
    if drawn.latent is None:
        return np.empty(0, np.float32)
    return np.array(drawn.latent.cpu().numpy(), np.float32)


def _refuse_dropout(kind: str, passes: int) -> None:
    if not passes:
        return
    if kind == "smolvla":
        raise CheckpointError(
            f"dropout_passes is {passes}, but SmolVLA's action expert has no dropout: all passes "
            "would be identical; set it to 0 and use action_samples"
        )
    raise CheckpointError(
        f"dropout_passes is {passes}: not available for LeRobot policies; set it to 0"
    )


def _set_precision(loaded: Checkpoint, precision: str) -> None:
    if precision not in PRECISIONS:
        raise CheckpointError(f"precision is '{precision}': allowed is {', '.join(PRECISIONS)}")
    if precision == "float32":
        return
    if loaded.config.type != "smolvla":
        raise CheckpointError(f"precision '{precision}' is for SmolVLA; this is another policy")
    # What LeRobot keeps in float32, the projections of state, actions and time, stays so.
    loaded.policy.model.vlm_with_expert.to(torch.bfloat16)


def _set_steps(config: Any, steps: int) -> None:
    if not steps:
        return
    if config.type != "smolvla":
        raise CheckpointError(f"flow_steps is {steps}: it is for SmolVLA, this is another policy")
    if steps < 0:
        raise CheckpointError(f"flow_steps is {steps}: at least 1 is needed")
    config.num_steps = steps
