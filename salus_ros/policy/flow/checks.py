"""What the flow policy's backend makes of its options, and what it says where they don't do."""

from __future__ import annotations

from dataclasses import replace

import torch

from salus_ros.policy.flow.checkpoint import CheckpointError
from salus_ros.policy.flow.config import FlowConfig

SLOWEST, FASTEST = 0.5, 1.5
"""Of the demonstrations' speed: farther off, the policy sees what it has not learned from."""


class memory_errors:  # noqa: N801
    """Turns CUDA's lack of memory into one line that says what to change."""

    def __init__(self, kind: type[Exception]) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None and issubclass(kind, torch.cuda.OutOfMemoryError):
            raise self._kind(
                "CUDA is out of memory for policy 'flow': set device to cpu, action_samples to 1, "
                "or end what else uses the GPU"
            ) from None


def check_robot(joint_names: tuple[str, ...], gripper_name: str | None, config: FlowConfig) -> None:
    """Raises CheckpointError where the policy is of another robot."""
    wanted, gripper = config.joint_names, config.gripper_name
    if joint_names != wanted or gripper_name not in (None, gripper):
        raise CheckpointError(
            f"the checkpoint moves {', '.join((*wanted, gripper))}; the robot has "
            f"{', '.join((*joint_names, gripper_name or 'no gripper'))}: use a policy of this robot"
        )


def paced(config: FlowConfig, speed: float) -> FlowConfig:
    """Rows `speed` times as close in time."""
    if not SLOWEST <= speed <= FASTEST:
        raise ValueError(f"speed is {speed:g}: allowed is {SLOWEST:g} to {FASTEST:g}")
    return replace(config, time_step=round(config.time_step / speed))


def device_of(name: str) -> torch.device:
    """By its name, "" for CUDA where there is one. Raises CheckpointError."""
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise CheckpointError(f"device '{name}' is none that PyTorch knows: cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CheckpointError(f"device '{name}': PyTorch finds no CUDA here; use device: cpu")
    return device
