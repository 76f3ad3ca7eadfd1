"""The failure model in one file: safetensors, and a JSON header that says what it is for.

Everything that has to fit travels inside: signal layout, window, normalisation, calibration, band.
A fingerprint over all of it shows a file that was changed or damaged.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salus_ros.prediction.alarm import Band
from salus_ros.prediction.deadlines import Deadlines
from salus_ros.prediction.features import FEATURES, Normalisation
from salus_ros.prediction.layout import FAILURE_TYPES
from salus_ros.prediction.model import FailureModel
from salus_ros.prediction.network import Network, NetworkConfig
from salus_ros.prediction.platt import Platt
from salus_ros.prediction.splits import Splits
from salus_ros.resources import config_file
from salus_ros.signals.layout import LAYOUT_VERSION, SIGNAL_NAMES, SignalError, check_width

FORMAT = 2
KIND = "salus failure predictor"
_HEADER = "salus"

Tensors = dict[str, NDArray[Any]]


def save_checkpoint(file: Path, model: FailureModel, trained: dict[str, Any] | None = None) -> str:
    """Write the model, whole or not at all; returns its fingerprint.

    trained: on what and how, for whoever reads the header. OSError where it can't be written.
    """
    from safetensors.numpy import save  # noqa: PLC0415 - only where checkpoints are

    tensors, header = _tensors(model), _header(model, trained or {})
    header["fingerprint"] = _fingerprint(tensors, header)
    part = file.with_name(file.name + ".part")
    part.write_bytes(save(tensors, {_HEADER: json.dumps(header, sort_keys=True)}))
    part.replace(file)
    return str(header["fingerprint"])


def checkpoint_file(name: str) -> Path:
    """The file of a path, or of the name of one that is shipped. Raises FileNotFoundError."""
    path = Path(name).expanduser()
    return path if path.is_file() or path.name != name else config_file(name)


def load_checkpoint(file: Path) -> FailureModel:
    """The model of a checkpoint. Raises SignalError, in one line, where anything doesn't fit."""
    return load_with_header(file)[0]


def load_with_header(file: Path) -> tuple[FailureModel, dict[str, Any]]:
    """The model, and the header with what it was trained on under `trained`."""
    tensors, header = read_checkpoint(file)
    config = NetworkConfig(**header["network"])
    weights = {name: tensors[name] for name in config.shapes() if name in tensors}
    try:
        network = Network(config, weights, tensors["masks"])
    except ValueError as error:
        raise SignalError(f"checkpoint {file}: {error}") from error
    model = FailureModel(
        network=network,
        normalisation=Normalisation(tensors["centre"], tensors["scale"]),
        table=Platt(tensors["table.slope"], tensors["table.intercept"]),
        episode=Platt(tensors["episode.slope"], tensors["episode.intercept"]),
        band=Band(tensors["band"], **header["band"]),
        step_period=header["step_period"],
        horizons=tuple(header["horizons"]),
        failure_types=tuple(header["failure_types"]),
        smoothing=header["smoothing"],
        robot=header["robot"],
        policy=header["policy"],
        deadlines=Deadlines(tensors["deadlines"]),
    )
    return model, header


def check_unused(trained: dict[str, Any], splits: Splits) -> None:
    """Raise SignalError where the model has seen an episode that it would be tested on."""
    used = {fingerprint for group in trained.get("used", {}).values() for fingerprint in group}
    tested = [e for e in (*splits.test, *splits.unseen) if e.fingerprint in used]
    if tested:
        raise SignalError(
            f"{len(tested)} test episodes were used to make the checkpoint, the first is "
            f"{tested[0].name}: train again, or give other episodes"
        )


def read_checkpoint(file: Path) -> tuple[Tensors, dict[str, Any]]:
    """Tensors and header of a checkpoint that fits this version. Raises SignalError."""
    try:
        from safetensors import safe_open  # noqa: PLC0415 - only where checkpoints are
    except ImportError as error:
        raise SignalError("checkpoints need safetensors: pip install safetensors") from error
    if not file.is_file():
        raise SignalError(f"checkpoint {file} does not exist: train one (salus train predictor)")
    try:
        with safe_open(str(file), "np") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            header = json.loads((opened.metadata() or {}).get(_HEADER, "{}"))
    except Exception as error:  # the library's own error type isn't exported
        raise SignalError(f"checkpoint {file} can't be read: {error}") from error
    _check(file, tensors, header)
    return tensors, header


def _check(file: Path, tensors: Tensors, header: dict[str, Any]) -> None:
    if header.get("kind") != KIND:
        raise SignalError(f"{file} is no failure predictor: train one (salus train predictor)")
    if header.get("format") != FORMAT:
        raise SignalError(
            f"checkpoint {file} has format {header.get('format')}, this version reads {FORMAT}: "
            "train again"
        )
    names = header.get("signal_names", [])
    check_width(len(names), f"checkpoint {file}")
    if header.get("layout_version") != LAYOUT_VERSION or tuple(names) != SIGNAL_NAMES:
        raise SignalError(
            f"checkpoint {file} has signal layout {header.get('layout_version')}, this version "
            f"has {LAYOUT_VERSION}: record and train again"
        )
    if tuple(header.get("failure_types", ())) != FAILURE_TYPES:
        raise SignalError(f"checkpoint {file} predicts other failure types: train again")
    if header["network"]["inputs"] != FEATURES:
        raise SignalError(f"checkpoint {file} has another number of inputs: train again")
    told = header.pop("fingerprint", "")
    if told != _fingerprint(tensors, header):
        raise SignalError(f"checkpoint {file} is damaged or was changed: its fingerprint is wrong")
    header["fingerprint"] = told


def _tensors(model: FailureModel) -> Tensors:
    return {
        **model.network.weights,
        "masks": model.network.masks,
        "centre": model.normalisation.centre,
        "scale": model.normalisation.scale,
        "table.slope": model.table.slope,
        "table.intercept": model.table.intercept,
        "episode.slope": np.atleast_1d(model.episode.slope),
        "episode.intercept": np.atleast_1d(model.episode.intercept),
        "band": model.band.threshold,
        "deadlines": model.deadlines.onsets,
    }


def _header(model: FailureModel, trained: dict[str, Any]) -> dict[str, Any]:
    config, band = model.network.config, model.band
    return {
        "kind": KIND,
        "format": FORMAT,
        "layout_version": LAYOUT_VERSION,
        "signal_names": list(SIGNAL_NAMES),
        "network": {
            "layers": config.layers,
            "hidden": config.hidden,
            "inputs": config.inputs,
            "horizons": config.horizons,
            "types": config.types,
        },
        "band": {
            "alpha": band.alpha,
            "release": band.release,
            "release_steps": band.release_steps,
            "successes": band.successes,
        },
        "step_period": model.step_period,
        "horizons": list(model.horizons),
        "failure_types": list(model.failure_types),
        "smoothing": model.smoothing,
        "robot": model.robot,
        "policy": model.policy,
        "trained": trained,
    }


def _fingerprint(tensors: Tensors, header: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}|{value.dtype}|{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()[:16]
