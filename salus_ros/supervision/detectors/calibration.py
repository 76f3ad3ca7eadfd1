"""A calibration of the detectors, and the file that it is kept in.

The file is an .npz without pickle: the models' arrays and JSON metadata. A SHA-256 over both is
part of it, so that one that was cut, mixed or edited by hand is refused. It shows mistakes and
tampering by hand, not an attacker, who could make the sum anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.action_drift import ActionDrift
from salus_ros.supervision.detectors.errors import DetectorError
from salus_ros.supervision.detectors.frozen import Frozen
from salus_ros.supervision.detectors.models import Models, SequenceModels
from salus_ros.supervision.detectors.oscillation import Oscillation
from salus_ros.supervision.detectors.plan_revision import PlanRevision
from salus_ros.supervision.detectors.slow_drift import SlowDrift
from salus_ros.supervision.detectors.step_drift import StepDrift
from salus_ros.supervision.detectors.whitening import Whitening

FILE_KIND = "salus-detector-calibration"
LAYOUT_VERSION = 2
PER_EPISODE, PER_ROW = "per_episode", "per_row"
RATE_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a calibration is of: robot, names of the action's dimensions, the policy's rate [Hz]."""

    robot: str
    names: tuple[str, ...]
    rate: float

    def __post_init__(self) -> None:
        if not self.robot or not self.names or len(set(self.names)) != len(self.names):
            raise DetectorError(
                f"robot {self.robot!r} with names {self.names}: give a name, and each "
                "dimension one of its own"
            )
        if not (math.isfinite(self.rate) and 0 < self.rate <= 1000):
            raise DetectorError(f"policy rate is {self.rate:g} Hz: give one in (0, 1000]")


@dataclass(frozen=True, slots=True, eq=False)
class DetectorCalibration:
    """Models and thresholds, and where they come from.

    mode: "per_episode" (the budget is a share of episodes; what the gate uses) or "per_row".
    budget: false-positive share in all. split: parts of it. margin: factor on the thresholds.
    thresholds: alarm above. samples: calibration scores behind each. data_sha256: of the data.
    """

    identity: Identity
    mode: str
    budget: float
    split: Mapping[str, float]
    margin: float
    thresholds: Mapping[str, float]
    samples: Mapping[str, int]
    data_sha256: str
    models: Models

    def require(self, robot: str, names: tuple[str, ...], rate: float | None = None) -> None:
        """Raise DetectorError unless this is of that robot, those dimensions and that rate [Hz]."""
        own = self.identity
        if own.robot != robot:
            raise DetectorError(
                f"the detectors' calibration is of robot {own.robot!r}, not {robot!r}: calibrate "
                "again"
            )
        if own.names != tuple(names):
            raise DetectorError(
                f"the detectors' calibration is of {len(own.names)} dimensions {list(own.names)}, "
                f"not of {len(names)} {list(names)}: calibrate again"
            )
        if rate is not None and abs(rate / own.rate - 1) > RATE_TOLERANCE:
            raise DetectorError(
                f"the detectors' calibration is of {own.rate:g} Hz, the policy has {rate:g} Hz: "
                "calibrate again"
            )

    def describe(self) -> dict[str, Any]:
        """Everything but the models, for JSON."""
        return {
            **asdict(self.identity),
            "mode": self.mode,
            "budget": self.budget,
            "split": dict(self.split),
            "margin": self.margin,
            "thresholds": dict(self.thresholds),
            "samples": dict(self.samples),
            "data_sha256": self.data_sha256,
        }

    def save(self, path: Path) -> None:
        """Write the file. OSError where it can't be written."""
        arrays = _to_arrays(self.models)
        metadata: dict[str, Any] = {
            "kind": FILE_KIND,
            "layout_version": LAYOUT_VERSION,
            **self.describe(),
            "arrays": {name: list(array.shape) for name, array in arrays.items()},
        }
        metadata["sha256"] = _checksum(metadata, arrays)
        content: dict[str, Any] = {"metadata": np.array(json.dumps(metadata)), **arrays}
        # An open file, since savez would append .npz to another name.
        with path.open("wb") as file:
            np.savez(file, **content)


def load_calibration(path: Path) -> DetectorCalibration:
    """Read what `save` wrote. DetectorError, one line, where the file can't be used."""
    try:
        metadata, arrays = _read(path)
    except FileNotFoundError:
        raise DetectorError(f"{path}: no such calibration; make one: salus calibrate") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        line = " ".join(str(error).split())
        raise DetectorError(
            f"{path} is not a calibration of detectors ({line}): calibrate again"
        ) from None
    kind, version = metadata.get("kind"), metadata.get("layout_version")
    if kind != FILE_KIND or version != LAYOUT_VERSION:
        raise DetectorError(
            f"{path} is of kind {kind!r} and layout version {version!r}, not {FILE_KIND!r} and "
            f"{LAYOUT_VERSION}: calibrate again"
        )
    if metadata.pop("sha256", None) != _checksum(metadata, arrays):
        raise DetectorError(
            f"{path}: content and checksum differ: it was changed after it was made; calibrate "
            "again"
        )
    try:
        return _from_file(metadata, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise DetectorError(f"{path}: {error}: calibrate again") from None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    # Opened here: np.load leaves the file open where it is no good archive.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        content = {name: archive[name] for name in archive.files}
    metadata = json.loads(str(content.pop("metadata")))
    if not isinstance(metadata, dict):
        raise ValueError("metadata are no JSON object")
    return metadata, content


def _checksum(metadata: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} {arrays[name].dtype}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _to_arrays(models: Models) -> dict[str, FloatArray]:
    arrays = {
        "action_center": models.action_drift.whitening.center,
        "action_matrix": models.action_drift.whitening.matrix,
        "step_center": models.step_drift.whitening.center,
        "step_matrix": models.step_drift.whitening.matrix,
    }
    if models.sequence is not None:
        arrays["slow_reach"] = models.sequence.slow_drift.reach
        arrays["frozen_scale"] = models.sequence.frozen.scale
        arrays["frozen_reach"] = models.sequence.frozen.reach
        arrays["oscillation_reach"] = models.sequence.oscillation.reach
        arrays["revision_reach"] = models.sequence.plan_revision.reach
    return arrays


def _from_file(
    metadata: Mapping[str, Any], arrays: Mapping[str, FloatArray]
) -> DetectorCalibration:
    identity = Identity(metadata["robot"], tuple(metadata["names"]), float(metadata["rate"]))
    models = _to_models(arrays, len(identity.names), metadata["mode"])
    thresholds = {name: float(metadata["thresholds"][name]) for name in models.names}
    if not all(math.isfinite(value) and value > 0 for value in thresholds.values()):
        raise ValueError(f"thresholds are {thresholds}: each must be finite and above 0")
    return DetectorCalibration(
        identity=identity,
        mode=metadata["mode"],
        budget=float(metadata["budget"]),
        split={name: float(metadata["split"][name]) for name in models.names},
        margin=float(metadata["margin"]),
        thresholds=thresholds,
        samples={name: int(metadata["samples"][name]) for name in models.names},
        data_sha256=str(metadata["data_sha256"]),
        models=models,
    )


def _to_models(arrays: Mapping[str, FloatArray], dims: int, mode: str) -> Models:
    if mode not in (PER_EPISODE, PER_ROW):
        raise ValueError(f"mode is {mode!r}")
    action = Whitening(
        _array(arrays, "action_center", dims), _array(arrays, "action_matrix", dims, dims)
    )
    step = Whitening(_array(arrays, "step_center", dims), _array(arrays, "step_matrix", dims, dims))
    if mode == PER_ROW:
        return Models(ActionDrift(action), StepDrift(step), None)
    sequence = SequenceModels(
        SlowDrift(action, _array(arrays, "slow_reach", 2 * dims)),
        Frozen(_array(arrays, "frozen_scale", dims), _array(arrays, "frozen_reach", dims + 2)),
        Oscillation(_array(arrays, "oscillation_reach", dims)),
        PlanRevision(_array(arrays, "revision_reach", dims)),
    )
    return Models(ActionDrift(action), StepDrift(step), sequence)


def _array(arrays: Mapping[str, FloatArray], name: str, *shape: int) -> FloatArray:
    array = arrays[name]
    if array.shape != shape or array.dtype != np.float64 or not np.isfinite(array).all():
        raise ValueError(f"{name} has shape {array.shape}, not {shape}, or isn't finite float64")
    return array
