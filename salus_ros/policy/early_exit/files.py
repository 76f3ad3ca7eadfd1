"""Early exit beside a policy's checkpoint: `early_exit.safetensors` and `early_exit.json`.

Probes and narrow MLPs are of one set of weights, whose SHA-256 the JSON carries: with any other
they are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from salus_ros.policy.description import read_description, sha256
from salus_ros.policy.early_exit.narrowing import METHODS, Method, MlpWeights
from salus_ros.policy.early_exit.settings import EarlyExitError, ExitSetting, setting_from_json
from salus_ros.policy.probe import LREProbe

FORMAT = 1
WEIGHTS, DESCRIPTION = "early_exit.safetensors", "early_exit.json"

NarrowMlps = Mapping[str, Mapping[float, MlpWeights]]
"""By the MLP's name and the skipped share."""


@dataclass(frozen=True, slots=True, eq=False)
class EarlyExitParts:
    """All that early exit adds to a policy.

    probes: by the layer that they follow. narrow: MLPs by name and skipped share. settings: by
    name. fitted: how it came about.
    """

    probes: dict[int, LREProbe]
    narrow: NarrowMlps
    method: Method
    settings: dict[str, ExitSetting]
    fitted: dict[str, Any] = field(default_factory=dict)

    def setting(self, name: str) -> ExitSetting:
        """Raises EarlyExitError for a name that there isn't."""
        if name not in self.settings:
            raise EarlyExitError(
                f"early_exit is '{name}', but this checkpoint has: off, {', '.join(self.settings)}"
            )
        return self.settings[name]


def save_early_exit(folder: Path, policy_weights: Path, parts: EarlyExitParts) -> None:
    """Write both files into a folder. policy_weights: the file that they belong to."""
    tensors = {
        f"probe.{layer}.{name}": t
        for layer, probe in parts.probes.items()
        for name, t in probe.state_dict().items()
    }
    for mlp, by_skip in parts.narrow.items():
        for skip, weights in by_skip.items():
            tensors |= {f"narrow.{mlp}.{skip}.{n}": t for n, t in _named(weights).items()}
    # Clones: up-projections of several shares are views of one tensor, which the format refuses.
    save_file({n: t.detach().cpu().clone() for n, t in tensors.items()}, folder / WEIGHTS)
    description = {
        "format": FORMAT,
        "policy_sha256": sha256(policy_weights),
        "sha256": sha256(folder / WEIGHTS),
        "checkpoints": sorted(parts.probes),
        "method": parts.method,
        "settings": {name: s.to_json() for name, s in parts.settings.items()},
        "fitted": parts.fitted,
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")


def _named(weights: MlpWeights) -> dict[str, Tensor]:
    tensors = {f"up{i}": t for i, t in enumerate(weights.ups)}
    tensors |= {f"up_bias{i}": t for i, t in enumerate(weights.up_biases)}
    return tensors | {"down": weights.down, "down_bias": weights.down_bias}


def load_early_exit(folder: Path, policy_weights: Path) -> EarlyExitParts:
    """Read and check both files. Raises EarlyExitError."""
    description = _description(folder)
    if description.get("policy_sha256") != sha256(policy_weights):
        raise EarlyExitError(
            f"{folder / DESCRIPTION} belongs to other weights than {policy_weights.name}: run "
            "`salus train early-exit` for these"
        )
    if description.get("sha256") != sha256(folder / WEIGHTS):
        raise EarlyExitError(f"{folder}: {WEIGHTS} isn't the one that {DESCRIPTION} describes")
    try:
        tensors = load_file(folder / WEIGHTS)
        layers = [int(layer) for layer in description["checkpoints"]]
        settings = {n: setting_from_json(s) for n, s in description["settings"].items()}
        method = description["method"]
        if method not in METHODS:
            raise EarlyExitError(f"{folder / DESCRIPTION}: method '{method}' is unknown")
        probes = {layer: _probe(tensors, layer) for layer in layers}
        narrow = _narrow(tensors)
    except (KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        line = " ".join(str(error).split())[:200]
        raise EarlyExitError(f"{folder / DESCRIPTION} doesn't fit {WEIGHTS}: {line}") from error
    return EarlyExitParts(probes, narrow, method, settings, description.get("fitted", {}))


def _description(folder: Path) -> dict[str, Any]:
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise EarlyExitError(
                f"no {name} in {folder}: run `salus train early-exit`, or set early_exit to off"
            )
    file = folder / DESCRIPTION
    try:
        return read_description(file, FORMAT, f"{file} has format", "fit it again")
    except ValueError as error:
        raise EarlyExitError(str(error)) from error


def _probe(tensors: dict[str, Tensor], layer: int) -> LREProbe:
    start = f"probe.{layer}."
    state = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
    if not all(bool(torch.isfinite(t).all()) for t in state.values()):
        raise EarlyExitError(f"the probe after layer {layer} holds numbers that are not finite")
    rank, width = state["down.weight"].shape
    probe = LREProbe(width, rank)
    probe.load_state_dict(state)
    probe.eval()
    return probe


def _narrow(tensors: dict[str, Tensor]) -> NarrowMlps:
    grouped: dict[str, dict[float, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind != "narrow":
            continue
        mlp, share, part = _split(rest)
        grouped.setdefault(mlp, {}).setdefault(float(share), {})[part] = tensor
    return {
        mlp: {skip: _weights(parts) for skip, parts in by_skip.items()}
        for mlp, by_skip in grouped.items()
    }


def _split(rest: str) -> tuple[str, str, str]:
    """mlp, share and part of "mlp.0.25.part", where the MLP's name may hold dots."""
    mlp, whole, decimals, part = rest.rsplit(".", 3)
    return mlp, f"{whole}.{decimals}", part


def _weights(parts: dict[str, Tensor]) -> MlpWeights:
    ups = tuple(parts[n] for n in sorted(parts) if n.startswith("up") and "bias" not in n)
    biases = tuple(parts[n] for n in sorted(parts) if n.startswith("up_bias"))
    return MlpWeights(ups, biases, parts["down"], parts["down_bias"])
