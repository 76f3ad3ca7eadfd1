"""Where glibc's malloc gets large buffers, and where they go when they are freed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
SMALL = 128 * 1024
"""Bytes from which a buffer gets pages of its own; what malloc begins with."""
LARGE, KEPT = 32 << 20, 64 << 20
"""The largest that this bound, and the free bytes kept at the heap's end, grow to by themselves."""
OWN_CHOICE, TUNABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), "GLIBC_TUNABLES"
"""Environment by which a user tells malloc."""


@contextmanager
def freed_at_once() -> Iterator[None]:
    """While a policy is built and warmed up: what is freed is the system's again.

    malloc raises its bound to the size of what was freed. From then on weights that are converted
    lie in the heap, between small things that stay, and what is free there is held. So the bound is
    kept down; what small things leave (a traced graph's passes make tens of megabytes of them)
    is handed back at the end.

    Afterwards the bound is as high as it gets by itself, so that calls find their buffers in the
    heap and not anew from the system. Where malloc isn't glibc's nothing changes; where a user has
    told it what to do by the environment, the bounds don't.
    """
    _tell({_MMAP_THRESHOLD: SMALL})
    try:
        yield
    finally:
        _tell({_MMAP_THRESHOLD: LARGE, _TRIM_THRESHOLD: KEPT})
        _hand_back()


def _tell(parameters: dict[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or _told_by_user():
        return
    for parameter, value in parameters.items():
        mallopt(parameter, value)


def _told_by_user() -> bool:
    named = any(name in os.environ for name in OWN_CHOICE)
    return named or "glibc.malloc" in os.environ.get(TUNABLES, "")


def _hand_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
