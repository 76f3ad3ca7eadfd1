"""A window on the rig, for `salus demo --window`: needs a display."""

from __future__ import annotations

import os
import sys
from typing import Any

from salus_ros.sim.rig import Rig


class RigWindow:
    """MuJoCo's own viewer; it draws in a thread of its own what `show` hands it."""

    def __init__(self, rig: Rig) -> None:
        """Open the window. Raises RuntimeError, in one line, where there is no display."""
        displays = ("DISPLAY", "WAYLAND_DISPLAY")
        if sys.platform == "linux" and not any(os.environ.get(name) for name in displays):
            raise RuntimeError("no display for a window; run without --window (--headless)")
        # Imported late: it loads the window system's libraries.
        import mujoco.viewer  # noqa: PLC0415

        self._viewer: Any = mujoco.viewer.launch_passive(
            rig.scene.model, rig.mujoco_data, show_left_ui=False, show_right_ui=False
        )

    @property
    def open(self) -> bool:
        """Whether the user hasn't closed it."""
        return bool(self._viewer.is_running())

    def show(self) -> None:
        """Show the rig as it is now; call it from the rig's thread, some 30 times a second."""
        self._viewer.sync()

    def close(self) -> None:
        """Close the window."""
        self._viewer.close()
