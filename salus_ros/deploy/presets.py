"""Budgets by name, in config/presets/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from salus_ros.deploy.axes import Budget, make_budget
from salus_ros.deploy.levers import CompileError
from salus_ros.resources import share_folder

KNOWN = {"about", "minimize", "limits", "device"}


def preset_names() -> list[str]:
    """Those that come with the package."""
    return sorted(file.stem for file in (share_folder() / "config" / "presets").glob("*.yaml"))


def read_preset(name: str) -> dict[str, Any]:
    """A preset's content: `minimize`, `limits` by axis, and perhaps `device`.

    name: of one that comes with the package, or a file. Raises CompileError.
    """
    shipped = share_folder() / "config" / "presets" / f"{name}.yaml"
    file = shipped if shipped.is_file() else Path(name).expanduser()
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise CompileError(
            f"preset {name} can't be read ({error.strerror}): give a file, or one of "
            f"{', '.join(preset_names())}"
        ) from error
    except yaml.YAMLError as error:
        raise CompileError(f"preset {file} is no YAML: {error}") from error
    if not isinstance(content, dict) or "minimize" not in content:
        raise CompileError(f"preset {file} doesn't say what to minimize")
    unknown = sorted(set(content) - KNOWN)
    if unknown:
        raise CompileError(f"preset {file}: unknown key '{unknown[0]}'")
    preset_budget(content)
    return content


def preset_budget(content: dict[str, Any]) -> Budget:
    """Of a preset's content. Raises CompileError."""
    limits = content.get("limits") or {}
    if not isinstance(limits, dict):
        raise CompileError(f"limits {limits!r}: give axes with a number each")
    for name, value in limits.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CompileError(f"limit {name}: {value!r} is no number")
    return make_budget(str(content["minimize"]), limits)
