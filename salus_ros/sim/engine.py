"""MuJoCo, imported in one place so that the rendering backend is chosen before it loads."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

# MuJoCo chooses its OpenGL at import. EGL renders off-screen, on a GPU or in software, without a
# display; a user's own choice (osmesa, glfw) is kept.
os.environ.setdefault("MUJOCO_GL", "egl")

import mujoco

__all__ = ["asset_folder", "mujoco"]


def asset_folder() -> Path:
    """Folder of gym-hil's Panda model.

    gym-hil is found but never imported: importing it pulls in gymnasium and pygame, of which the
    rig needs nothing. Raises FileNotFoundError, in one line, where it isn't installed.
    """
    spec = importlib.util.find_spec("gym_hil")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / "assets"
        if (folder / "scene.xml").is_file():
            return folder
    raise FileNotFoundError(
        "the simulated Panda's model isn't installed; pip install --no-deps gym-hil==0.1.14"
    )
