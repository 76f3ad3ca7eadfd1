"""Policies by name, imported when asked for, so that none needs the others' packages."""

from __future__ import annotations

from importlib import import_module

from salus_ros.policy.backend import Backend

_BACKENDS = {
    # Reads the blocks' true poses: for the simulated rig only.
    "scripted_expert": "salus_ros.sim.expert:ScriptedExpert",
}

DEFAULT_BACKEND = "scripted_expert"
BACKEND_NAMES = tuple(_BACKENDS)


def make_backend(name: str) -> Backend:
    """The policy of that name; raises ValueError, listing the known ones, where there is none."""
    if name not in _BACKENDS:
        raise ValueError(f"unknown policy '{name}'; known: {', '.join(BACKEND_NAMES)}")
    module, _, attribute = _BACKENDS[name].partition(":")
    backend: Backend = getattr(import_module(module), attribute)()
    return backend
