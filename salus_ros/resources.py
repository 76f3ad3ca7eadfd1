"""Where the package's own files (config/, launch/) lie, in a checkout and in an install; what a
parameter file says."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]


def share_folder() -> Path:
    """Folder that holds config/ and launch/.

    The checkout where this code runs from one, else share/salus_ros of the ament prefixes or of
    the Python prefix. Raises FileNotFoundError naming the folders that were tried.
    """
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    candidates = [CHECKOUT, *(Path(p) / "share" / "salus_ros" for p in prefixes if p)]
    for folder in candidates:
        if (folder / "config").is_dir():
            return folder
    tried = ", ".join(str(c) for c in candidates)
    raise FileNotFoundError(f"salus_ros: no config folder in {tried}; reinstall the package")


def config_file(name: str) -> Path:
    """Path of a file in config/. Raises FileNotFoundError where it isn't there."""
    path = share_folder() / "config" / name
    if not path.is_file():
        raise FileNotFoundError(f"no such configuration file: {path}")
    return path


def file_parameter(config: Path, node: str, name: str) -> Any:
    """A node's parameter as a parameter file gives it; None where it doesn't."""
    content = yaml.safe_load(config.read_text())
    for section in (node, "/**"):
        parameters = (content.get(section) or {}).get("ros__parameters") or {}
        if name in parameters:
            return parameters[name]
    return None
