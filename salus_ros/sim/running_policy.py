"""A policy as the policy node runs it, from a parameter file, for runs in lock-step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salus_ros.policy.backend import Backend
from salus_ros.policy.registry import DEFAULT_BACKEND, make_backend, option_names
from salus_ros.resources import config_file, file_parameter
from salus_ros.sim.lockstep import LockstepConfig

NODE = "vla_policy"


@dataclass(frozen=True, slots=True)
class RunningPolicy:
    """A policy and how the policy node runs it; latency: of an inference [s]."""

    name: str = "scripted_expert"
    options: Mapping[str, Any] = field(default_factory=dict)
    execution_horizon: int = LockstepConfig().execution_horizon
    merging: str = LockstepConfig().merging
    latency: float = LockstepConfig().latency

    def make(self) -> Backend:
        """Raises ValueError for a name or an option that is not known, and what the policy does."""
        return make_backend(self.name, self.options)

    def lockstep(self, cameras: tuple[str, ...]) -> LockstepConfig:
        """How lock-step runs it."""
        return LockstepConfig(
            latency=self.latency,
            cameras=cameras,
            execution_horizon=self.execution_horizon,
            merging=self.merging,
        )


def policy_of_file(file: Path, latency: float = LockstepConfig().latency) -> RunningPolicy:
    """The policy that a parameter file names. Raises ValueError for one that is not known."""
    name = file_parameter(file, NODE, "policy") or DEFAULT_BACKEND
    options = {option: file_parameter(file, NODE, option) for option in option_names(name)}
    usual = RunningPolicy()
    return RunningPolicy(
        name,
        {option: value for option, value in options.items() if value},
        file_parameter(file, NODE, "execution_horizon") or usual.execution_horizon,
        file_parameter(file, NODE, "merging") or usual.merging,
        latency,
    )


def sim_policy(name: str, options: Mapping[str, Any] | None = None) -> RunningPolicy:
    """A policy of that name on the simulated Panda.

    As the parameter file sim_panda runs it where it is that file's policy; its options count less
    than these. Any other policy: with the policy node's defaults.
    """
    policy = policy_of_file(config_file("sim_panda.yaml"))
    if policy.name != name:
        return RunningPolicy(name, options or {})
    merged = {**policy.options, **(options or {})}
    return RunningPolicy(name, merged, policy.execution_horizon, policy.merging, policy.latency)
