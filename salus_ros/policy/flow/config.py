"""What a flow policy is made of, and for which robot: the JSON beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

FORMAT = 1
"""Of the checkpoint: changes where older ones can't be read any more."""

_COUNTS = (
    "longest_instruction",
    "image_size",
    "image_tokens",
    "width",
    "heads",
    "layers",
    "mlp_width",
    "expert_layers",
    "expert_mlp_width",
    "rows",
    "rows_per_token",
    "time_step",
    "steps",
    "samples",
    "execution_rows",
)

WORDS = ("", "pick", "up", "reach", "above", "the", "red", "green", "blue", "yellow", "block")
"""The vocabulary; index 0 is padding."""


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """Sizes of the network and what goes in and out.

    joint_names, gripper_name: columns of the actions. cameras: in the order that the network sees
    them. instructions: those that it was trained on. image_size: what images are scaled to [px].
    rows, time_step [ns]: of a chunk. rows_per_token: rows of an action token. steps: Euler steps.
    samples: noise draws for the action distribution; the first is executed. execution_rows: the
    rows that the distribution is of.
    """

    joint_names: tuple[str, ...]
    gripper_name: str
    cameras: tuple[str, ...]
    instructions: tuple[str, ...]
    words: tuple[str, ...] = WORDS
    longest_instruction: int = 8
    image_size: int = 64
    channels: tuple[int, ...] = (32, 64, 64, 64)
    image_tokens: int = 8
    width: int = 128
    heads: int = 4
    layers: int = 4
    mlp_width: int = 512
    expert_layers: int = 3
    expert_mlp_width: int = 256
    dropout: float = 0.05
    rows: int = 32
    rows_per_token: int = 4
    time_step: int = 33_333_333
    steps: int = 10
    samples: int = 8
    execution_rows: int = 10

    def __post_init__(self) -> None:
        self._check_kinds()
        if self.rows % self.rows_per_token:
            raise ValueError(f"{self.rows} rows don't divide into tokens of {self.rows_per_token}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} doesn't divide into {self.heads} heads")
        if not 1 <= self.execution_rows <= self.rows:
            raise ValueError(f"execution_rows {self.execution_rows} is outside 1 to {self.rows}")

    def _check_kinds(self) -> None:
        """JSON may hold anything."""
        if not isinstance(self.gripper_name, str):
            raise ValueError(f"gripper_name is {self.gripper_name!r}: a name is needed")
        for name in ("joint_names", "cameras", "instructions", "words"):
            values = getattr(self, name)
            if not values or not all(isinstance(value, str) for value in values):
                raise ValueError(f"{name} is {values!r}: names are needed")
        for name in _COUNTS:
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}: a whole number above 0 is needed")

    @property
    def dims(self) -> int:
        """Columns of an action."""
        return len(self.joint_names) + 1

    @property
    def state_size(self) -> int:
        """Start, its velocity, measured minus start, and the tool's pose (see state.py)."""
        return 3 * self.dims + 5

    @property
    def action_tokens(self) -> int:
        """Tokens of a chunk."""
        return self.rows // self.rows_per_token

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def config_from_json(values: Mapping[str, Any]) -> FlowConfig:
    """Raises ValueError where a field is missing, unknown or of another kind."""
    known = {field.name for field in fields(FlowConfig)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}")
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return FlowConfig(**plain)
    except TypeError as error:
        raise ValueError(str(error)) from error
