"""A node that was started by the command line must not outlive it, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal

DIE_WITH_PARENT = "SALUS_DIE_WITH_PARENT"
"""Set in the environment of processes that are to end with the one that started them."""

_PR_SET_PDEATHSIG = 1


def die_with_parent_if_asked() -> None:
    """Have the kernel send SIGTERM to this process when its parent is gone (Linux, prctl(2))."""
    if os.environ.get(DIE_WITH_PARENT):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
