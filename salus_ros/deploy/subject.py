"""What is compiled: a policy that can be built in many configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch

from salus_ros.deploy.levers import CompileError, Grid, Levers
from salus_ros.interfaces import FloatArray


class Built(Protocol):
    """One configuration, ready to run."""

    def __call__(self, number: int) -> FloatArray:
        """The chunk of an input [rows, dims], normalised; numbers wrap around."""

    def warm_up(self) -> None:
        """So that the next call is as fast as any."""

    def weight_bytes(self) -> int:
        """Of everything that is kept for running it."""

    def drafts(self) -> tuple[int, int]:
        """How many were accepted, and how many there were."""

    def module(self) -> torch.nn.Module:
        """Its network."""


class Subject(Protocol):
    """A policy. It is pickled and sent to the processes that measure."""

    @property
    def name(self) -> str:
        """As the policy node knows it, or of a reference."""

    @property
    def digest(self) -> str:
        """SHA-256 of its weights."""

    @property
    def context(self) -> str:
        """What else than weights a measurement depends on; "": nothing."""

    @property
    def rows(self) -> int:
        """Of a chunk."""

    @property
    def time_step(self) -> float:
        """Of the rows [s]."""

    @property
    def device(self) -> str:
        """Cpu or cuda."""

    @property
    def inputs(self) -> int:
        """How many there are."""

    def grid(self) -> Grid:
        """What it offers here."""

    def build(self, levers: Levers, exact: bool = False) -> Built:
        """exact: in plain float32 with the same weights, eagerly. Raises whatever goes wrong."""

    def options(self, levers: Levers) -> dict[str, Any]:
        """The policy node's options for this configuration; empty: no policy of the node."""


def samplers_of(device: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Sampler modes on a device, and what is left out."""
    if device == "cuda":
        return ("eager", "graph"), {"sampler=traced": "a CUDA graph does all that it does"}
    return ("eager", "traced"), {"sampler=graph": "CUDA graphs need CUDA"}


def make_subject(policy: str, device: str, inputs: int, mapping: str = "") -> Subject:
    """A policy by its name or folder. Raises CompileError, or what its loading raises.

    mapping: file that says how a LeRobot policy fits the robot.
    """
    device = chosen_device(device)
    if policy == "reference":
        from salus_ros.deploy.reference_subject import ReferenceSubject  # noqa: PLC0415

        return ReferenceSubject(device, inputs)
    if policy == "flow" or (Path(policy) / "policy.json").is_file():
        from salus_ros.deploy.flow_subject import make_flow_subject  # noqa: PLC0415

        return make_flow_subject("" if policy == "flow" else policy, device, inputs)
    folders = Path(policy), Path(policy) / "pretrained_model"
    if any((folder / "config.json").is_file() for folder in folders):
        return _lerobot(policy, mapping, device, inputs)
    raise CompileError(
        f"policy '{policy}' is neither flow, reference, nor a folder with a flow policy's "
        "policy.json or a LeRobot policy's config.json"
    )


def _lerobot(folder: str, mapping: str, device: str, inputs: int) -> Subject:
    try:
        from salus_ros.deploy.lerobot_subject import make_lerobot_subject  # noqa: PLC0415
    except ImportError as error:
        raise CompileError(
            f"{folder} is a LeRobot policy, and {error.name or error} is not installed: run make "
            ".venv/.lerobot"
        ) from error
    return make_lerobot_subject(folder, mapping, device, inputs)


def chosen_device(name: str) -> str:
    """The device of this name, "" for CUDA where there is one. Raises CompileError."""
    if name not in ("", "cpu", "cuda"):
        raise CompileError(f"device '{name}': cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise CompileError("device 'cuda': PyTorch finds no CUDA here; use --device cpu")
    return name or ("cuda" if torch.cuda.is_available() else "cpu")
