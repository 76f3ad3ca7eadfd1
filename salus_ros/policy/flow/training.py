"""Training: flow matching on the teacher's chunks, resumable, the same for the same seed.

In two stages, since one CPU core has to do: first vision alone learns where the blocks are, then
its convolutions stay as they are, their features are computed once for all frames, and the rest
learns what to do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from salus_ros.policy.flow.auxiliary import Auxiliary
from salus_ros.policy.flow.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from salus_ros.policy.flow.config import FlowConfig
from salus_ros.policy.flow.dataset import Frames, FrameStore
from salus_ros.policy.flow.instructions import word_indices
from salus_ros.policy.flow.network import FlowNetwork, Scene
from salus_ros.policy.flow.state import Normalisation, fit_normalisation
from salus_ros.sim.tasks import TASKS
from salus_ros.sim.world import COLORS

REFRESH_EVERY = 500
"""Steps between two looks for new data."""
SAVE_EVERY = 250
FEATURE_BATCH = 256


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """steps in all, vision_steps of them of the first stage; batch: observations a step; draws:
    noise draws of each; seed of everything.

    decay: the share of steps at the end over which the learning rate falls to 0. average: decay
    of the averaged weights, which are the ones that are kept.
    """

    steps: int = 10_000
    vision_steps: int = 1_500
    batch: int = 64
    draws: int = 2
    learning_rate: float = 1e-3
    warm_up: int = 100
    decay: float = 0.4
    average: float = 0.998
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of a step; each stage begins and ends low."""
        first, last = (
            (0, self.vision_steps) if step < self.vision_steps else (self.vision_steps, self.steps)
        )
        ending = (last - step) / max(1.0, self.decay * (last - first))
        return self.learning_rate * min(1.0, (step - first + 1) / self.warm_up, max(ending, 0.0))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is; losses are means over the steps since the last report."""

    step: int
    frames: int
    seconds: float
    losses: dict[str, float]


class Trainer:
    """One training run in a folder, which it goes on with where there is one."""

    def __init__(
        self, out: Path, store: FrameStore, flow: FlowConfig, config: TrainingConfig, device: str
    ) -> None:
        self._out, self._store, self._flow, self.config = out, store, flow, config
        self._device = torch.device(device)
        store.refresh()
        self._frames = store.frames
        torch.manual_seed(config.seed)
        self._network = FlowNetwork(flow).to(self._device)
        self._auxiliary = Auxiliary(flow).to(self._device)
        self._parameters = [*self._network.parameters(), *self._auxiliary.parameters()]
        self._optimizer = torch.optim.AdamW(self._parameters, weight_decay=1e-4, betas=(0.9, 0.98))
        self._average = {n: t.detach().clone() for n, t in self._network.state_dict().items()}
        self._step, self._spent = 0, 0.0
        self._features: Tensor | None = None
        self._normalisation: Normalisation | None = None
        self._fit()
        if (out / "state.json").exists():
            self._load()
        self._words = torch.tensor(
            np.array([word_indices(task.instruction, flow) for task in TASKS]),
            device=self._device,
        )
        self._colors = torch.tensor([COLORS.index(t.color) for t in TASKS], device=self._device)

    def _fit(self) -> None:
        f = self._frames
        chunks, starts = f.chunks.reshape(-1, *f.chunks.shape[2:]), np.repeat(f.starts, 2, 0)
        self._normalisation = fit_normalisation(
            f.states.astype(np.float64), chunks, starts, self._flow.execution_rows
        )

    # --- steps ---

    def run(self, report: Callable[[Progress], None], report_every: int = 50) -> Checkpoint:
        """Train to the last step; saves as it goes."""
        totals: dict[str, float] = {}
        began, before = time.monotonic(), self._spent
        while self._step < self.config.steps:
            for name, value in self._train_step().items():
                totals[name] = totals.get(name, 0.0) + value / report_every
            self._step += 1
            self._spent = before + time.monotonic() - began
            if self._step % report_every == 0:
                report(Progress(self._step, len(self._frames), self._spent, totals))
                totals = {}
            if self._step % SAVE_EVERY == 0 or self._step == self.config.steps:
                self._save()
            if self._step % REFRESH_EVERY == 0 and self._store.refresh():
                self._frames = self._store.frames
        return self.checkpoint()

    def _train_step(self) -> dict[str, float]:
        rng = np.random.default_rng([self.config.seed, self._step])
        torch.manual_seed(int(rng.integers(2**62)))
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.rate(self._step)
        chosen = rng.integers(len(self._frames), size=self.config.batch)
        losses = self._losses(_picked(self._frames, chosen), self._scene(chosen))
        total = torch.stack(list(losses.values())).sum()
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        # Early on the average would still be full of the random start.
        keep = min(self.config.average, (1 + self._step) / (10 + self._step))
        with torch.no_grad():
            for name, tensor in self._network.state_dict().items():
                self._average[name].lerp_(tensor, 1 - keep)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _scene(self, chosen: NDArray[np.int64]) -> Scene:
        """Features of the chosen frames: learned in the first stage, looked up in the second."""
        if self._step < self.config.vision_steps:
            images = augmented(torch.from_numpy(self._frames.images[chosen]).to(self._device))
            with torch.autocast(self._device.type, dtype=torch.bfloat16):
                return self._network.see(images)
        if self._features is None or len(self._features) < len(self._frames):
            self._features = self._all_features()
        rows = self._features[torch.from_numpy(chosen)].to(self._device)
        return Scene(tuple(rows.unbind(1)))

    @torch.no_grad()
    def _all_features(self) -> Tensor:
        """Of all frames [n, cameras, channels, h, w], by the averaged vision weights."""
        for parameter in self._network.stems.parameters():
            parameter.requires_grad_(False)
        averaged = {n: t for n, t in self._average.items() if n.startswith("stems.")}
        self._network.load_state_dict(averaged, strict=False)
        parts = [] if self._features is None else [self._features]
        for first in range(sum(map(len, parts)), len(self._frames), FEATURE_BATCH):
            images = torch.from_numpy(self._frames.images[first : first + FEATURE_BATCH])
            pixels = images.to(self._device).permute(0, 1, 4, 2, 3).float() / 255.0
            with torch.autocast(self._device.type, dtype=torch.bfloat16):
                features = self._network.see(pixels).features
            parts.append(torch.stack(features, 1).to("cpu", torch.bfloat16))
        return torch.cat(parts)

    def _losses(self, frames: Frames, scene: Scene) -> dict[str, Tensor]:
        net, device = self._network.train(), self._device
        assert self._normalisation is not None
        state = self._normalisation.state(frames.states.astype(np.float64))
        states = torch.tensor(state, dtype=torch.float32, device=device).repeat(2, 1)
        tasks = torch.from_numpy(frames.tasks.T.reshape(-1)).to(device)
        blocks = torch.from_numpy(frames.blocks).to(device).repeat(2, 1, 1)
        tool = torch.from_numpy(frames.states[:, -5:]).to(device).repeat(2, 1)
        tool = torch.cat([tool[:, :3], torch.atan2(tool[:, 3:4], tool[:, 4:5])], 1)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            both = Scene(tuple(torch.cat([f, f]) for f in scene.features))
            tokens = net.tokens(both, self._words[tasks], states)
            where, wanted = self._auxiliary(tokens, blocks, self._colors[tasks], tool)
            losses = {"blocks": where, "wanted": wanted}
            if self._step >= self.config.vision_steps:
                losses["flow"] = self._flow_losses(tokens, frames)
        return losses

    def _flow_losses(self, tokens: Tensor, frames: Frames) -> Tensor:
        assert self._normalisation is not None
        chunk = self._normalisation.normalise(frames.chunks, frames.starts[:, None])
        target = torch.tensor(chunk, dtype=torch.float32, device=self._device)
        target = target.transpose(0, 1).flatten(0, 1)
        prefix = self._network.prefix(self._network.encode(tokens))
        draws = [self._flow_loss(prefix, target) for _ in range(self.config.draws)]
        return torch.stack(draws).mean()

    def _flow_loss(self, prefix: Any, target: Tensor) -> Tensor:
        # Mostly near 0: there only the observation says what to do, later the noisy chunk does, and
        # what the first steps decide the last ones keep. (Evenly spread times left the error at 0
        # four times that at 0.9.)
        time = torch.rand(len(target), device=target.device) ** 3
        noise = torch.randn_like(target)
        t = time[:, None, None]
        noisy = t * target + (1 - t) * noise
        expert = self._network.expert
        clean = expert(noisy, prefix, expert.modulations(time)).float()
        return (clean - target).square().mean()

    # --- files ---

    def checkpoint(self) -> Checkpoint:
        """The averaged weights so far."""
        network = FlowNetwork(self._flow)
        network.load_state_dict({n: t.cpu() for n, t in self._average.items()})
        assert self._normalisation is not None
        training = {
            **asdict(self.config),
            "trained_steps": self._step,
            "frames": len(self._frames),
            "seconds": round(self._spent),
        }
        return Checkpoint(network.eval(), self._normalisation, training)

    def _save(self) -> None:
        save_checkpoint(self._out, self.checkpoint())
        tensors = {f"network.{n}": t for n, t in self._network.state_dict().items()}
        tensors |= {f"auxiliary.{n}": t for n, t in self._auxiliary.state_dict().items()}
        tensors |= {f"average.{n}": t for n, t in self._average.items()}
        for i, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{n}": t for n, t in state.items()}
        save_file({n: t.contiguous().clone() for n, t in tensors.items()}, self._out / "state.tmp")
        (self._out / "state.tmp").rename(self._out / "state.safetensors")
        state = {"step": self._step, "seconds": self._spent, "seed": self.config.seed}
        (self._out / "state.json").write_text(json.dumps(state) + "\n")

    def _load(self) -> None:
        """Go on where the folder's run was saved. Raises ValueError for another network."""
        kept = load_checkpoint(self._out)
        if kept.config != self._flow:
            raise ValueError(
                f"{self._out} holds a training of another network: give another folder"
            )
        self._normalisation = kept.normalisation
        progress = json.loads((self._out / "state.json").read_text())
        self._step, self._spent = progress["step"], progress["seconds"]
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in load_file(self._out / "state.safetensors").items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = tensor
        self._network.load_state_dict(groups["network"])
        self._auxiliary.load_state_dict(groups["auxiliary"])
        self._average = groups["average"]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in groups["optimizer"].items():
            number, _, what = name.partition(".")
            moments.setdefault(int(number), {})[what] = tensor
        whole = self._optimizer.state_dict()
        self._optimizer.load_state_dict({**whole, "state": moments})


def use_device(device: str, threads: int) -> None:
    """Check the device; threads: on the CPU, 0 leaves torch's own number. Raises ValueError."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("no CUDA device here: leave --device at cpu")
    if threads:
        torch.set_num_threads(threads)


def _picked(frames: Frames, chosen: NDArray[np.int64]) -> Frames:
    return Frames(
        *(
            getattr(frames, n)[chosen]
            for n in ("images", "states", "starts", "blocks", "tasks", "chunks")
        )
    )


def augmented(images: Tensor) -> Tensor:
    """uint8 [batch, cameras, size, size, 3] to float [batch, cameras, 3, size, size] in [0, 1].

    Each image in another light: gain of each channel, and brightness.
    """
    x = images.permute(0, 1, 4, 2, 3).float() / 255.0
    shape = (*x.shape[:2], 3, 1, 1)
    gain = 1.0 + 0.08 * torch.randn(shape, device=x.device).clamp(-2, 2)
    shift = 0.03 * torch.randn(shape[:2], device=x.device)[..., None, None, None]
    return (x * gain + shift).clamp(0.0, 1.0)
