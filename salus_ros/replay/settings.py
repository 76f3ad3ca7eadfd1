"""What a recording is replayed with: a parameter file, or what the gate itself said it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from salus_ros.prediction.checkpoint import checkpoint_file, load_checkpoint
from salus_ros.prediction.model import FailureModel
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.replay.errors import BagError
from salus_ros.replay.node_parameters import (
    POLICY,
    PREDICTOR,
    SIGNALS,
    SUPERVISOR,
    NodeParameters,
    read_parameters,
)
from salus_ros.resources import config_file
from salus_ros.signals.calibration import Calibration, load_calibration
from salus_ros.signals.config import SignalConfig
from salus_ros.signals.layout import SignalError
from salus_ros.signals.monitor import SignalMonitor
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.detector_guard import Detectors, make_detectors
from salus_ros.supervision.detectors import DetectorError
from salus_ros.supervision.detectors import load_calibration as load_detectors
from salus_ros.supervision.detectors.models import SEQUENCE_DETECTORS
from salus_ros.supervision.errors import LimitsError
from salus_ros.supervision.gate_replay import limits_of
from salus_ros.supervision.limits import RobotLimits, load_limits
from salus_ros.supervision.workspace import load_workspace

DEFAULT_FILE = "sim_panda.yaml"
NODES = (SUPERVISOR, SIGNALS, PREDICTOR, POLICY)


@dataclass(frozen=True)
class Settings:
    """Everything that the pure stages are made of.

    files: by name the SHA-256 of each file that was read. detector_actions: what an alarm does.
    policy: parameters of the policy's node. from_trace: the gate's part is what it said in the
    recording. gate_hears_predictor: False: predictions are made, and change nothing.
    """

    gate: GateConfig
    limits: RobotLimits
    signals: SignalConfig
    calibration: Calibration | None
    model: FailureModel | None
    signal_age: float
    target_age: float
    detectors_path: Path | None
    detector_actions: Mapping[str, str]
    detector_robot: str
    files: Mapping[str, str]
    policy: Mapping[str, Any]
    from_trace: bool = False
    gate_hears_predictor: bool = True

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The arm's joints."""
        return self.limits.arm.names

    @property
    def gripper_name(self) -> str:
        """The gripper's; empty: there is none."""
        return self.limits.gripper.name if self.limits.gripper else ""

    @property
    def gripper_range(self) -> tuple[float, float]:
        """Closed and open [m]."""
        gripper = self.limits.gripper
        return (gripper.closed, gripper.open) if gripper else (0.0, 0.0)

    def monitor(self) -> SignalMonitor:
        """The signals, from nothing."""
        return SignalMonitor(self.signals, self.calibration)

    def predictor(self) -> FailurePredictor:
        """The predictor, from nothing."""
        return FailurePredictor(self.model, self.signal_age)

    def detectors(self) -> Detectors | None:
        """Check 8, from nothing. Raises BagError for a calibration that can't be used."""
        if self.detectors_path is None:
            return None
        columns = (*self.joint_names, *([self.gripper_name] if self.gripper_name else []))
        try:
            calibration = load_detectors(self.detectors_path)
            calibration.require(self.detector_robot, columns)
            return make_detectors(calibration, dict(self.detector_actions))
        except (DetectorError, OSError) as error:
            raise BagError(error) from None

    def describe(self) -> dict[str, Any]:
        """All that outputs follow from, for fingerprints and for people."""
        return {
            "gate": asdict(self.gate),
            "limits": asdict(self.limits),
            "signals": {
                "action_dims": self.signals.action_dims,
                "window": self.signals.window,
                "ema": self.signals.ema,
            },
            "signal_age": self.signal_age,
            "gate_hears_predictor": self.gate_hears_predictor,
            "target_age": self.target_age,
            "detectors": self.detectors_path.name if self.detectors_path else "",
            "detector_actions": dict(self.detector_actions),
            "files": dict(self.files),
            "policy": dict(self.policy),
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the description."""
        text = json.dumps(self.describe(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def as_recorded(self, setup: str) -> Settings:
        """With the gate as it said that it was, where it was activated (see gate_trace)."""
        told = json.loads(setup)
        gate, limits = GateConfig(**told["config"]), limits_of(told["limits"])
        name, path = Path(told.get("detectors") or "").name, self.detectors_path
        if name and (path is None or path.name != name):
            raise BagError(f"the gate scored steps with {name}: give the parameter file (--config)")
        own = limits.arm.names == self.joint_names
        signals = self.signals if own else _signal_config(limits, self.signals.window)
        own_gate = replace(self, gate=gate, limits=limits, detectors_path=path if name else None)
        return replace(own_gate, signals=signals, from_trace=True)

    def as_rolled_out(self) -> Settings:
        """With the gate of `salus record rollouts`: its defaults, no detectors, no predictor."""
        silent = replace(self, detectors_path=None, gate_hears_predictor=False)
        return replace(silent, gate=GateConfig())


def load_settings(path: Path | None = None) -> Settings:
    """Settings of a parameter file; None: the simulated Panda's. Raises BagError, one line."""
    path = path or config_file(DEFAULT_FILE)
    content = read_parameters(path)
    try:
        return _settings(*(NodeParameters(n, content, str(path)) for n in NODES))
    except (LimitsError, SignalError, DetectorError, FileNotFoundError, TypeError) as error:
        raise BagError(f"{path}: {error}") from None


def _settings(
    gate: NodeParameters,
    signals: NodeParameters,
    predictor: NodeParameters,
    policy: NodeParameters,
) -> Settings:
    files: dict[str, str] = {}
    limits = load_limits(_file(gate["limits"], files), gate["joint_names"], gate["gripper_name"])
    if gate["workspace"]:
        space = load_workspace(_file(gate["workspace"], files), len(limits.arm.names))
        limits = replace(limits, workspace=space)
    checkpoint = predictor["checkpoint"]
    model = None
    if checkpoint:
        file = checkpoint_file(checkpoint)
        files[file.name] = _sha256(file)
        model = load_checkpoint(file)
    config = _signal_config(limits, signals["window"])
    detectors = gate["detector_calibration"]
    return Settings(
        gate=GateConfig(
            **gate.gate(),
            require_enable=gate["require_enable"],
            require_robot=gate["require_robot"],
            heartbeats=_heartbeats(gate),
        ),
        limits=limits,
        signals=config,
        calibration=_calibration(signals, limits, config.action_dims, files),
        model=model,
        signal_age=predictor["signal_age"],
        target_age=gate["target_age"],
        detectors_path=_file(detectors, files) if detectors else None,
        detector_actions={n: gate[f"detector_{n}"] for n in SEQUENCE_DETECTORS},
        detector_robot=gate["detector_robot"],
        files=files,
        policy=policy.all(),
    )


def _heartbeats(gate: NodeParameters) -> dict[str, float]:
    """That of the predictor alone: a recording without a trace doesn't hold the manager's."""
    return {PREDICTOR: gate["prediction_age"]} if gate["require_prediction"] else {}


def _signal_config(limits: RobotLimits, window: int) -> SignalConfig:
    return SignalConfig(
        action_dims=len(limits.arm.names) + (limits.gripper is not None),
        window=window,
        joint_low=np.array(limits.arm.lower),
        joint_high=np.array(limits.arm.upper),
    )


def _calibration(
    signals: NodeParameters, limits: RobotLimits, dims: int, files: dict[str, str]
) -> Calibration | None:
    joints = len(limits.arm.names)
    if signals["calibration"]:
        calibration = load_calibration(_file(signals["calibration"], files))
        calibration.require(signals["robot"], dims, joints)
        return calibration
    lag = signals["joint_lag"]
    return Calibration(signals["robot"], lag_seconds=np.full(joints, lag)) if lag else None


def _file(name: str, files: dict[str, str]) -> Path:
    path = Path(name) if Path(name).is_file() else config_file(name)
    files[path.name] = _sha256(path)
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
