"""How a LeRobot policy's features and units correspond to this robot's; free of torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray, JointState
from salus_ros.policy.backend import PolicyError
from salus_ros.policy.lerobot.errors import CheckpointError

STATE_PARTS = ("positions", "velocities", "efforts", "gripper")
ACTION_KINDS = ("absolute", "relative_to_observation", "relative_to_previous")
ANGLE_UNITS = {"radians": 1.0, "degrees": float(np.pi / 180.0)}


@dataclass(frozen=True, slots=True)
class GripperScale:
    """Two places of the gripper, in the policy's unit and as opening width [m]; linear between."""

    closed: float = 0.0
    open: float = 1.0
    closed_width: float = 0.0
    open_width: float = 1.0

    def __post_init__(self) -> None:
        if self.closed == self.open or self.closed_width == self.open_width:
            raise CheckpointError(
                f"gripper: closed {self.closed:g} and open {self.open:g}, widths "
                f"{self.closed_width:g} and {self.open_width:g} m: each pair must differ"
            )

    def width(self, value: FloatArray) -> FloatArray:
        """Opening width [m] of what the policy says."""
        share = (value - self.closed) / (self.open - self.closed)
        return np.asarray(self.closed_width + share * (self.open_width - self.closed_width))

    def value(self, width: float) -> float:
        """What the policy says of an opening width [m]."""
        share = (width - self.closed_width) / (self.open_width - self.closed_width)
        return self.closed + share * (self.open - self.closed)


@dataclass(frozen=True, slots=True)
class PolicyMapping:
    """What stands in a mapping file.

    rate: rows of a chunk per second [Hz]. cameras: image feature of the policy by the name of this
    robot's camera. absent_images: image features that no camera gives (SmolVLA alone masks them).
    state: parts of observation.state, in order. joints: this robot's joints in the policy's order;
    empty: the robot's own. angle_unit: of the policy's joint values. actions: what joint values of
    an action are; the gripper's is always absolute. gripper: its unit; left out, it is metres.
    vision_language_model: folder of the model that the policy was built from, where its processor
    and configuration are read; empty: as the checkpoint says.
    """

    rate: float
    cameras: dict[str, str]
    absent_images: tuple[str, ...] = ()
    state: tuple[str, ...] = ("positions", "gripper")
    joints: tuple[str, ...] = ()
    angle_unit: str = "radians"
    actions: str = "absolute"
    gripper: GripperScale = GripperScale()
    vision_language_model: str = ""

    def __post_init__(self) -> None:
        _require(0.1 <= self.rate <= 1000.0, "rate", self.rate, "0.1 to 1000 Hz")
        _require(set(self.state) <= set(STATE_PARTS), "state", self.state, f"parts {STATE_PARTS}")
        _require(self.actions in ACTION_KINDS, "actions", self.actions, f"one of {ACTION_KINDS}")
        units = tuple(ANGLE_UNITS)
        _require(self.angle_unit in units, "angle_unit", self.angle_unit, f"one of {units}")


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise CheckpointError(f"mapping: {name} is {value!r}, allowed is {allowed}")


def load_mapping(path: Path) -> PolicyMapping:
    """Read a mapping file. Raises CheckpointError, or FileNotFoundError, in one line."""
    if not path.is_file():
        raise FileNotFoundError(f"mapping {path}: no such file; see docs/lerobot.md for its form")
    try:
        content = yaml.safe_load(path.read_text())
        return _mapping(content)
    except (yaml.YAMLError, TypeError, AttributeError, ValueError) as error:
        line = " ".join(str(error).split())
        raise CheckpointError(f"mapping {path}: {line}") from None


def _mapping(content: Any) -> PolicyMapping:
    if not isinstance(content, dict):
        raise CheckpointError("it must be a table of names and values")
    known = {field.name for field in fields(PolicyMapping)}
    unknown = sorted(set(content) - known)
    if unknown:
        raise CheckpointError(f"unknown '{unknown[0]}'; known: {', '.join(sorted(known))}")
    missing = {"rate", "cameras"} - set(content)
    if missing:
        raise CheckpointError(f"{sorted(missing)[0]} is missing")
    values = dict(content)
    for name in ("absent_images", "state", "joints"):
        if name in values:
            values[name] = tuple(str(item) for item in values[name] or ())
    if "gripper" in values:
        values["gripper"] = GripperScale(**{k: float(v) for k, v in values["gripper"].items()})
    values["rate"] = float(values["rate"])
    values["cameras"] = {str(k): str(v) for k, v in (values["cameras"] or {}).items()}
    return PolicyMapping(**values)


class RobotLayout:
    """Turns this robot's joint states into the policy's state, and its actions into targets.

    joint_names: the robot's order; gripper_name: "" where it has none.
    """

    def __init__(
        self, mapping: PolicyMapping, joint_names: tuple[str, ...], gripper_name: str
    ) -> None:
        self._mapping = mapping
        self._unit = ANGLE_UNITS[mapping.angle_unit]
        self.joints = len(joint_names)
        self.has_gripper = bool(gripper_name)
        self._order = _order(mapping.joints or joint_names, joint_names)
        if "gripper" in mapping.state and not gripper_name:
            raise CheckpointError("mapping: state has the gripper, but this robot has none")

    @property
    def action_dims(self) -> int:
        """Columns of an action: joints, and the gripper where there is one."""
        return self.joints + self.has_gripper

    @property
    def state_dims(self) -> int:
        """Values of the state."""
        return sum(1 if part == "gripper" else self.joints for part in self._mapping.state)

    def state(self, joints: JointState) -> NDArray[np.float32]:
        """The policy's state [state_dims]. PolicyError where the robot does not say a part."""
        return np.concatenate([self._part(part, joints) for part in self._mapping.state])

    def _part(self, part: str, joints: JointState) -> NDArray[np.float32]:
        if part == "gripper":
            if joints.gripper is None:
                raise PolicyError("the joint state holds no gripper, which the policy needs")
            return np.array([self._mapping.gripper.value(joints.gripper)], np.float32)
        values = np.asarray(getattr(joints, part))
        if values.shape != (self.joints,):
            raise PolicyError(f"the joint state has {values.size} {part}, not {self.joints}")
        scale = 1.0 if part == "efforts" else 1.0 / self._unit
        return np.asarray(values[self._order] * scale, np.float32)

    def targets(self, actions: FloatArray, joints: JointState) -> FloatArray:
        """Absolute targets [rows, action_dims] in rad and m; actions [rows, action_dims]."""
        moves: FloatArray = np.empty((len(actions), self.joints))
        moves[:, self._order] = actions[:, : self.joints] * self._unit
        if self._mapping.actions == "relative_to_previous":
            moves = np.cumsum(moves, axis=0)
        if self._mapping.actions != "absolute":
            moves = moves + joints.positions
        if not self.has_gripper:
            return moves
        width = self._mapping.gripper.width(actions[:, self.joints])
        return np.column_stack((moves, width))


def _order(policy: tuple[str, ...], robot: tuple[str, ...]) -> NDArray[np.int64]:
    """Place in the robot's order of each of the policy's joints."""
    if sorted(policy) != sorted(robot):
        raise CheckpointError(
            f"mapping: joints are {', '.join(policy)}; the robot's are {', '.join(robot)}"
        )
    return np.array([robot.index(name) for name in policy])
