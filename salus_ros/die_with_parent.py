"""A node that was started by the command line must not outlive it, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

DIE_WITH_PARENT = "SALUS_DIE_WITH_PARENT"
"""Names, in the environment of a node, the process id of the parent that it is to end with."""

_PR_SET_PDEATHSIG = 1


def die_with_parent_if_asked() -> None:
    """Have the kernel send SIGTERM to this process when its parent is gone (Linux, prctl(2)).

    Exits at once where the parent went before this was asked for.
    """
    parent = os.environ.get(DIE_WITH_PARENT)
    if parent is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit("error: the process that started this node is gone")
