"""Policies by name, imported when asked for, so that none needs the others' packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from salus_ros.policy.backend import Backend

_BACKENDS = {
    # Reads the blocks' true poses: for the simulated rig only.
    "scripted_expert": "salus_ros.sim.expert:ScriptedExpert",
    "flow": "salus_ros.policy.flow.backend:FlowBackend",
    "lerobot": "salus_ros.policy.lerobot.backend:LeRobotBackend",
}

DEFAULT_BACKEND = "scripted_expert"
BACKEND_NAMES = tuple(_BACKENDS)


def make_backend(name: str, options: Mapping[str, Any] | None = None) -> Backend:
    """The policy of that name, made with its options (see `option_names`).

    Raises ValueError for a name or an option that is not known, and whatever the policy raises.
    """
    options = options or {}
    factory = _factory(name)
    known = option_names(name)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"policy '{name}' has no option '{unknown[0]}'; it has: {', '.join(known) or 'none'}"
        )
    return factory(**options)


def option_names(name: str) -> tuple[str, ...]:
    """Options that the policy of that name takes: the arguments of its constructor."""
    return tuple(signature(_factory(name)).parameters)


def _factory(name: str) -> Callable[..., Backend]:
    if name not in _BACKENDS:
        raise ValueError(f"unknown policy '{name}'; known: {', '.join(BACKEND_NAMES)}")
    module, _, attribute = _BACKENDS[name].partition(":")
    try:
        factory: Callable[..., Backend] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"policy '{name}' needs the Python package '{error.name}', which is not installed: "
            "see extras_require in setup.py"
        ) from error
    return factory
