"""What is measured once for a policy on a robot: its usual latents, the arm's lag, the actions."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.signals.layout import LAYOUT_VERSION, SignalError

FILE_KIND = "salus-signal-calibration"
_ARRAYS = ("latent_mean", "latent_whitening", "lag_seconds", "action_low", "action_high")
FEWEST_LATENTS = 10


def _nothing() -> FloatArray:
    return np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Measured on recordings of normal operation; an empty array was not measured.

    robot: name of the robot. latent_mean [width] and latent_whitening [width, components]:
    ||(h - mean) @ whitening||_2 is the out-of-distribution distance. lag_seconds [joints]: time
    constants of the arm. action_low, action_high [dims]: range of the policy's actions.
    """

    robot: str
    latent_mean: FloatArray = field(default_factory=_nothing)
    latent_whitening: FloatArray = field(default_factory=_nothing)
    lag_seconds: FloatArray = field(default_factory=_nothing)
    action_low: FloatArray = field(default_factory=_nothing)
    action_high: FloatArray = field(default_factory=_nothing)

    def require(self, robot: str, action_dims: int, joints: int, latent_width: int = 0) -> None:
        """Raise SignalError unless this calibration is one of that robot and policy.

        latent_width: 0 where it is not known yet.
        """
        if self.robot != robot:
            raise SignalError(
                f"the calibration is of robot {self.robot!r}, not {robot!r}: calibrate again"
            )
        for name, measured, needed in (
            ("action dimensions", self.action_low.size, action_dims),
            ("joints", self.lag_seconds.size, joints),
            ("latent values", self.latent_mean.size, latent_width),
        ):
            if measured and needed and measured != needed:
                raise SignalError(
                    f"the calibration has {measured} {name}, {needed} are needed: calibrate again"
                )

    def save(self, path: Path) -> None:
        """Write an .npz file: the arrays, and JSON metadata. No pickle is in it."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        metadata = {
            "kind": FILE_KIND,
            "layout_version": LAYOUT_VERSION,
            "robot": self.robot,
            "shapes": {name: list(array.shape) for name, array in arrays.items()},
        }
        # An open file, since savez would append .npz to another name.
        with path.open("wb") as file:
            np.savez(file, metadata=np.array(json.dumps(metadata)), **arrays)


def load_calibration(path: Path) -> Calibration:
    """Read what `Calibration.save` wrote. Raises SignalError where the file can't be used."""
    try:
        # Opened here: np.load leaves the file open where it is no good archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            content = {name: archive[name] for name in archive.files}
        metadata = json.loads(str(content["metadata"]))
        kind, version = metadata["kind"], metadata["layout_version"]
    except FileNotFoundError:
        raise SignalError(f"{path}: no such calibration; make one or give its path") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        line = " ".join(str(error).split())
        raise SignalError(f"{path} is not a signal calibration ({line}): calibrate again") from None
    if kind != FILE_KIND or version != LAYOUT_VERSION:
        raise SignalError(
            f"{path} is of kind {kind!r} and layout version {version!r}, not {FILE_KIND!r} and "
            f"{LAYOUT_VERSION}: calibrate again"
        )
    return _checked(path, metadata, content)


def _checked(path: Path, metadata: dict[str, Any], content: dict[str, Any]) -> Calibration:
    arrays: dict[str, FloatArray] = {}
    for name in _ARRAYS:
        array = content.get(name)
        if array is None or list(array.shape) != metadata.get("shapes", {}).get(name):
            raise SignalError(f"{path}: {name} is missing or has another shape: calibrate again")
        if array.dtype != np.float64 or not np.isfinite(array).all():
            raise SignalError(f"{path}: {name} holds what is no finite number: calibrate again")
        arrays[name] = array
    mean, whitening = arrays["latent_mean"], arrays["latent_whitening"]
    if mean.size and (whitening.ndim != 2 or whitening.shape[0] != mean.size):
        raise SignalError(f"{path}: latent mean and whitening don't fit: calibrate again")
    return Calibration(robot=str(metadata.get("robot", "")), **arrays)


def fit_latents(latents: FloatArray, components: int = 32) -> tuple[FloatArray, FloatArray]:
    """Mean [width] and whitening [width, k] of latents [n, width], for signal 7.

    k: the leading principal components, at most `components`, n - 1 and the rank. Their covariance
    is shrunk towards its mean variance (Ledoit and Wolf, 2004). The whitening divides by sqrt(k),
    so that the distance is about 1 for a usual latent.
    """
    latents = np.asarray(latents, np.float64)
    if latents.ndim != 2 or len(latents) < FEWEST_LATENTS:
        raise SignalError(
            f"latents of shape {latents.shape}: at least {FEWEST_LATENTS} rows are needed, "
            "record more"
        )
    bad = int((~np.isfinite(latents).all(axis=1)).sum())
    if bad:
        raise SignalError(f"{bad} of {len(latents)} latents are not finite: leave them out")
    mean = latents.mean(axis=0)
    _, singular, axes = np.linalg.svd(latents - mean, full_matrices=False)
    rank = int((singular > 1e-9 * max(float(singular[0]), 1e-300)).sum())
    k = min(components, len(latents) - 1, rank)
    if singular[0] < 1e-12 or k < 1:
        raise SignalError("all latents are the same: record the policy while it works")
    scores = (latents - mean) @ axes[:k].T
    variances = shrunk_variances(scores)
    return mean, axes[:k].T / np.sqrt(variances * k)


def shrunk_variances(scores: FloatArray) -> FloatArray:
    """Ledoit-Wolf variances [k] of uncorrelated, centred scores [n, k].

    The covariance is (1 - rho) * S + rho * mu * I, with mu = tr(S) / k and rho as in Ledoit and
    Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.
    """
    n, k = scores.shape
    covariance = scores.T @ scores / n
    mu = np.trace(covariance) / k
    distance = ((covariance - mu * np.eye(k)) ** 2).sum() / k
    # Mean over samples of ||x x' - S||^2 / n / k, written without the outer products.
    spread = ((scores**2).sum(axis=1) ** 2).sum() / n - (covariance**2).sum()
    rho = 1.0 if distance == 0.0 else min(1.0, spread / n / k / distance)
    return np.asarray((1.0 - rho) * np.diag(covariance) + rho * mu)
