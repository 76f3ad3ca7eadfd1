"""The flow policy as a backend: images, joints and words in, absolute joint targets out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salus_ros.interfaces import ActionDistribution, FloatArray, JointState, Observation, seconds
from salus_ros.policy.anchor import Anchor, Start
from salus_ros.policy.backend import Guidance, PolicyError, Prediction
from salus_ros.policy.early_exit.cascade import ExitRule
from salus_ros.policy.early_exit.files import load_early_exit
from salus_ros.policy.early_exit.flow_model import install
from salus_ros.policy.early_exit.hook import AfterLayer, run_in_full
from salus_ros.policy.early_exit.settings import EarlyExitError
from salus_ros.policy.flow.checkpoint import SHIPPED, WEIGHTS, CheckpointError, load_checkpoint
from salus_ros.policy.flow.checks import check_robot, device_of, memory_errors, paced
from salus_ros.policy.flow.flow import ExpertStep, held_of
from salus_ros.policy.flow.guidance import Guide
from salus_ros.policy.flow.images import scaled
from salus_ros.policy.flow.instructions import word_indices
from salus_ros.policy.flow.network import FlowNetwork, Prefix
from salus_ros.policy.flow.prefix_graph import PrefixGraph
from salus_ros.policy.flow.sampler import EagerSampler, Sampler, make_sampler
from salus_ros.policy.flow.smoothing import smoothing_matrices
from salus_ros.policy.flow.speculative import SpeculativeSampler, make_speculative
from salus_ros.policy.flow.state import GRIPPER_SCALE, Normalisation, state_vector
from salus_ros.policy.quantization.packing import QuantizationError
from salus_ros.policy.quantization.precision import make_exact, set_precision
from salus_ros.policy.stage_clock import StageClock
from salus_ros.signals.distribution import distribution_of_samples
from salus_ros.sim.gripper import MAX_WIDTH

WARM_UP_RUNS = 3


class FlowBackend:
    """The built-in policy.

    checkpoint: folder; "" is the one that is shipped. joint_names, gripper_name: the robot's.
    execution_horizon: rows that the action distribution is taken over; 0: as trained. device: ""
    is CUDA where there is one. sampler: `graph`, `traced` or `eager` (see sampler.py); "" is the
    graph on CUDA, else traced. flow_steps, action_samples: 0 is as
    trained. dropout_passes: stochastic passes whose spread replaces that of the noise draws
    (MC dropout); 0: none. seed: of the noise, which is the same for every chunk, so that
    successive chunks agree. early_exit: setting of the checkpoint's early exit; "" and "off": none.
    speed: of its motions over that of its demonstrations, SLOWEST to FASTEST.
    precision: of the weights (see quantization/precision.py); "" is float32. draft_steps: flow
    steps of a draft that the full sampler verifies (see speculative.py); 0: none.

    Raises CheckpointError, in one line, where policy and robot don't fit, ValueError where options
    don't.
    """

    privileged = False

    def __init__(
        self,
        joint_names: Sequence[str] = (),
        gripper_name: str | None = None,
        execution_horizon: int = 0,
        checkpoint: str = "",
        device: str = "",
        sampler: str = "",
        flow_steps: int = 0,
        action_samples: int = 0,
        dropout_passes: int = 0,
        seed: int = 0,
        early_exit: str = "",
        speed: float = 1.0,
        precision: str = "",
        draft_steps: int = 0,
    ) -> None:
        folder = Path(checkpoint).expanduser() if checkpoint else SHIPPED
        loaded = load_checkpoint(folder)
        config = self._config = paced(loaded.config, speed)
        check_robot(tuple(joint_names) or config.joint_names, gripper_name, loaded.config)
        if dropout_passes and not config.dropout:
            raise CheckpointError(
                f"dropout_passes is {dropout_passes}, but this policy has no dropout: all passes "
                "would be the same; set it to 0"
            )
        self.cameras: tuple[str, ...] = config.cameras
        self._device = device_of(device)
        self._normalisation = loaded.normalisation
        self._window = min(execution_horizon or config.execution_rows, config.rows)
        self._samples = action_samples or config.samples
        self._passes = dropout_passes
        self._mode = sampler or ("graph" if self._device.type == "cuda" else "traced")
        self._steps = flow_steps or config.steps
        self._anchor = Anchor()
        width_scale = np.full((config.rows, 1), GRIPPER_SCALE)
        scales = np.hstack([self._normalisation.action_scale, width_scale])
        self._smoothing = smoothing_matrices(scales)
        self._words: dict[str, Tensor] = {}
        if self._device.type == "cpu":
            # A network this small gains nothing from more threads, and the graph needs the cores.
            torch.set_num_threads(1)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(self._samples, config.rows, config.dims, generator=generator)
        with memory_errors(CheckpointError):
            # Guidance differentiates by the noisy chunk alone.
            self._network = loaded.network.to(self._device).requires_grad_(False)
            self._noise = noise.to(self._device)
            self._exits = _exit_rule(early_exit, folder, self._network)
            _set_precision(self._network, precision or "float32")
            self._draft_steps = draft_steps
            self._make_samplers()

    def make_exact(self) -> None:
        """Go over to plain float32 arithmetic with the same weights, one operation at a time.

        For comparison with the kernels that this policy would run on.
        """
        make_exact(self._network)
        self._network.cast_narrow()
        self._mode = "eager"
        self._make_samplers()

    def _make_samplers(self) -> None:
        self._prefix_graph: PrefixGraph | None = None  # captured when it is warmed up
        config, device = self._config, self._device
        shares = self._exits.skips if self._exits else (0.0,)
        tokens = len(config.cameras) * config.image_tokens + 2
        size = config.width // config.heads
        kind = self._network.dtype
        example = torch.zeros(1, config.heads, tokens, size, device=device, dtype=kind)
        held = (example,) * (2 * config.expert_layers)
        # One for each share of MLP channels that early exit may skip: a graph has no branches.
        self._samplers: dict[float, Sampler | SpeculativeSampler] = {
            share: self._sampler(share, (self._noise, *held)) for share in shares
        }
        full = ExpertStep(self._network.expert, self._steps)
        self._stochastic = EagerSampler(full, self._steps)

    def _sampler(self, share: float, example: tuple[Tensor, ...]) -> Sampler | SpeculativeSampler:
        expert, (noise, *held) = self._network.expert, example
        step = ExpertStep(expert, self._steps, share)
        if not self._draft_steps:
            return make_sampler(self._mode, step, self._steps, noise, held)
        steps = self._steps, self._draft_steps
        draft = ExpertStep(expert, self._draft_steps, share)
        return make_speculative(self._mode, step, draft, steps, example)

    @property
    def drafts(self) -> tuple[int, int]:
        """How many drafts were accepted, and how many there were."""
        kinds = [s for s in self._samplers.values() if isinstance(s, SpeculativeSampler)]
        return sum(s.accepted for s in kinds), sum(s.drafted for s in kinds)

    @property
    def normalisation(self) -> Normalisation:
        """Of states and actions."""
        return self._normalisation

    @property
    def network(self) -> FlowNetwork:
        """For studies that look at what goes through it."""
        return self._network

    def warm_up(self) -> None:
        """Run on blank images, so that the first chunk is as fast as any."""
        config = self._config
        images: dict[str, NDArray[np.uint8]] = {
            camera: np.zeros((config.image_size, config.image_size, 3), np.uint8)
            for camera in config.cameras
        }
        still = np.zeros(config.dims - 1)
        joints = JointState(0, still, still, np.empty(0), 0.0)
        blank = Observation(0, joints, config.instructions[0], images)
        with memory_errors(CheckpointError):
            for _ in range(WARM_UP_RUNS):
                self._warm_samplers()
                start = Start(np.zeros(config.dims), np.zeros(config.dims))
                self._infer(blank, start)
                self._infer(blank, start, Guidance(np.zeros((2, config.dims)), np.ones(2), 2))
        self.reset()

    @torch.no_grad()
    def _warm_samplers(self) -> None:
        """Each share's: blank images use one, and first runs compile.

        Guided as well where that is a graph, which the first guided call captures.
        """
        config = self._config
        tokens = len(config.cameras) * config.image_tokens + 2
        hidden = torch.zeros(
            1, tokens, config.width, device=self._device, dtype=self._network.dtype
        )
        held = held_of(self._network.prefix(hidden))
        row = torch.zeros_like(self._noise[:1])
        for sampler in self._samplers.values():
            sampler(self._noise, held, None)
            if self._mode == "graph":
                sampler(self._noise, held, Guide(row, torch.ones_like(row[..., :1])))

    def reset(self) -> None:
        """Forget the last chunk."""
        self._anchor.forget()

    def predict(self, observation: Observation) -> Prediction:
        """A chunk that goes on where the last one leads to. Raises PolicyError."""
        self._check(observation)
        with memory_errors(PolicyError):
            prediction: Prediction = self._infer(observation, self._anchor.at(observation))
        self._anchor.remember(observation.stamp, prediction)
        return prediction

    def predict_guided(self, observation: Observation, guidance: Guidance) -> Prediction:
        """A chunk that goes on with the plan, which counts as where the last chunk leads to."""
        self._check(observation)
        start = self._anchor.at(observation)
        if not start.planned or len(guidance.prefix) < 2:
            return self.predict(observation)
        before, after = guidance.prefix[:2]
        start = Start(before, (after - before) / seconds(self._config.time_step))
        with memory_errors(PolicyError):
            prediction: Prediction = self._infer(observation, start, guidance)
        self._anchor.remember(observation.stamp, prediction)
        return prediction

    def _check(self, observation: Observation) -> None:
        joints, wanted = observation.joints, self._config.dims - 1
        if joints.positions.shape != (wanted,) or joints.gripper is None:
            raise PolicyError(
                f"{joints.positions.size} joints and {int(joints.gripper is not None)} grippers; "
                f"the policy was trained with {wanted} and 1"
            )
        if not np.isfinite([*joints.positions, *joints.velocities, joints.gripper]).all():
            raise PolicyError("the joint state holds a number that is not finite")
        missing = [camera for camera in self.cameras if camera not in observation.images]
        if missing:
            raise PolicyError(f"the observation holds no image of camera '{missing[0]}'")

    @torch.no_grad()
    def _infer(
        self, observation: Observation, start: Start, guidance: Guidance | None = None
    ) -> Prediction:
        clock = StageClock(self._device)
        inputs = self._inputs(observation, start)
        clock.mark("inputs")
        cascade = self._exits.begin() if self._exits else None
        prefix = self._prefix(inputs, clock, cascade.after_layer if cascade else run_in_full)
        clock.mark("prefix")
        skip = float(cascade.skips[0]) if cascade else 0.0
        samples = self._draw(prefix, self._guide(guidance, start), skip)
        latent = np.array(prefix.latent[0].float().cpu().numpy(), np.float32)
        clock.mark("expert")
        actions = self._smoothed(self._normalisation.denormalise(samples[0], start.targets), start)
        distribution = self._distribution(samples, prefix)
        clock.mark("distribution")
        return Prediction(
            actions,
            self._config.time_step,
            latent,
            distribution,
            cascade.exits() if cascade else (),
            stage_seconds=clock.seconds(),
            continues=start.planned,
        )

    def _prefix(
        self, inputs: tuple[Tensor, ...], clock: StageClock, after_layer: AfterLayer
    ) -> Prefix:
        """As one graph, vision included, where nothing is decided on the way."""
        if self._exits is None and self._mode == "graph" and self._device.type == "cuda":
            if self._prefix_graph is None:
                self._prefix_graph = PrefixGraph(self._network, *inputs)
            return self._prefix_graph(*inputs)
        images, words, state = inputs
        scene = self._network.see(images)
        clock.mark("vision")
        tokens = self._network.tokens(scene, words, state)
        return self._network.prefix(self._network.encode(tokens, after_layer))

    def _inputs(self, observation: Observation, start: Start) -> tuple[Tensor, Tensor, Tensor]:
        config, joints = self._config, observation.joints
        text = observation.instruction
        if text not in self._words:
            self._words = {text: torch.tensor(word_indices(text, config), device=self._device)}
        pixels = [scaled(observation.images[c], config.image_size) for c in config.cameras]
        images = torch.from_numpy(np.stack(pixels)).to(self._device)
        measured = np.array([*joints.positions, joints.gripper])
        state = self._normalisation.state(state_vector(start, measured))
        return (
            images.permute(0, 3, 1, 2)[None].float() / 255.0,
            self._words[text][None],
            torch.tensor(state, dtype=torch.float32, device=self._device)[None],
        )

    def _guide(self, guidance: Guidance | None, start: Start) -> Guide | None:
        """The plan as far as the chunk reaches, in the network's units."""
        if guidance is None or not guidance.weights.any():
            return None
        rows = self._config.rows
        count = min(rows, len(guidance.weights))
        plan, weights = np.tile(start.targets, (rows, 1)), np.zeros((1, rows, 1))
        plan[:count], weights[0, :count, 0] = guidance.prefix[:count], guidance.weights[:count]
        normalised = self._normalisation.normalise(plan, start.targets)[None]
        return Guide(
            torch.tensor(normalised, dtype=torch.float32, device=self._device),
            torch.tensor(weights, dtype=torch.float32, device=self._device),
        )

    def _draw(self, prefix: Prefix, guide: Guide | None, skip: float) -> FloatArray:
        """Normalised chunks [samples, rows, dims]; the first is the one to execute."""
        drawn = self._samplers[skip](self._noise, held_of(prefix), guide)
        return np.asarray(drawn.double().cpu().numpy())

    def _smoothed(self, chunk: FloatArray, start: Start) -> FloatArray:
        """The chunk [rows, dims] without the sampler's noise, its gripper within its range."""
        before = start.targets - start.velocities * seconds(self._config.time_step)
        points = np.concatenate([before[None], start.targets[None], chunk[1:]])
        smooth = np.einsum("jrp,pj->rj", self._smoothing, points)
        smooth[0] = start.targets
        smooth[:, -1] = np.clip(smooth[:, -1], 0.0, MAX_WIDTH)
        return smooth

    def _distribution(self, samples: FloatArray, prefix: Prefix) -> ActionDistribution | None:
        if self._passes:
            samples = self._stochastic_passes(prefix)
        low, high = self._normalisation.action_low, self._normalisation.action_high
        return distribution_of_samples(samples[:, : self._window], low, high)

    def _stochastic_passes(self, prefix: Prefix) -> FloatArray:
        noise = self._noise[:1].expand(self._passes, -1, -1)
        self._network.expert.train()
        try:
            return np.asarray(self._stochastic(noise, held_of(prefix)).double().cpu().numpy())
        finally:
            self._network.expert.eval()


def _exit_rule(name: str, folder: Path, network: FlowNetwork) -> ExitRule | None:
    """Early exit by a setting's name; its narrow MLPs are installed in the network."""
    if name in ("", "off"):
        return None
    try:
        parts = load_early_exit(folder, folder / WEIGHTS)
        install(network, parts.narrow)
        device = next(network.parameters()).device
        probes = {layer: probe.to(device) for layer, probe in parts.probes.items()}
        return ExitRule(probes, parts.setting(name), network.config.layers)
    except EarlyExitError as error:
        raise CheckpointError(str(error)) from error


def _set_precision(network: FlowNetwork, precision: str) -> None:
    try:
        set_precision(network, precision)
    except QuantizationError as error:
        raise CheckpointError(str(error)) from error
    network.cast_narrow()
