"""Real-time scheduling of the process that commands the arm, where the system allows it."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import resource
import struct
from contextlib import suppress

MCL_CURRENT_AND_FUTURE = 3
HOW_TO_ALLOW = (
    "allow it with '@realtime - rtprio 98' and '@realtime - memlock unlimited' in "
    "/etc/security/limits.conf and membership of that group, or with CAP_SYS_NICE and CAP_IPC_LOCK"
)

# Time [ns] that a process asks for at once where it has no real-time scheduling: enough for a tick,
# its publishing and what follows. Who needs more than it asked for waits longest.
SHORT_SLICE = 500_000
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
# struct sched_attr of sched_setattr(2), its first version: size, policy, flags, nice, priority,
# runtime, deadline, period.
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")


def may_use_realtime(priority: int = 50) -> bool:
    """Whether this process may run under SCHED_FIFO at this priority (1 to 99)."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return False
    os.sched_setscheduler(0, *before)
    return True


def use_realtime(priority: int) -> str:
    """Put this process under SCHED_FIFO.

    The calling thread gets the priority (1 to 98). The middleware's threads get one less: the
    tick waits for the locks that they hold, so it is only as prompt as they are. Returns one line
    that says what could not be done; "" where all was.
    """
    try:
        for thread in _threads():
            _schedule(thread, os.SCHED_FIFO, max(1, priority - 1))
        _schedule(0, os.SCHED_FIFO, priority)
    except PermissionError:
        return f"no real-time scheduling, deadlines may be missed under load: {HOW_TO_ALLOW}"
    return ""


def use_short_slices() -> None:
    """Have the default scheduler run this process soon after it wakes, and for a short time.

    Of the tasks that have had no more than their share, Linux runs the one with the earliest
    deadline (EEVDF, "An introduction to EEVDF scheduling", docs.kernel.org), and a short slice is
    an early deadline. That takes no permission. Before Linux 6.12 it does nothing.
    """
    for thread in _threads():
        _ask_for_slice(thread, SHORT_SLICE)


def _ask_for_slice(thread: int, duration: int) -> None:
    """duration [ns]; 0: the system's own."""
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return
    with suppress(ProcessLookupError):  # it ended meanwhile
        nice = os.getpriority(os.PRIO_PROCESS, thread)
        size = _SCHED_ATTR.size
        attributes = _SCHED_ATTR.pack(size, os.SCHED_OTHER, 0, nice, 0, duration, 0, 0)
        ctypes.CDLL(None).syscall(number, thread, attributes, 0)


def use_default_scheduling() -> None:
    """Undo use_realtime and use_short_slices."""
    for thread in _threads():
        _schedule(thread, os.SCHED_OTHER, 0)
        _ask_for_slice(thread, 0)


def _threads() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/task")]  # noqa: PTH208


def _schedule(thread: int, policy: int, priority: int) -> None:
    with suppress(ProcessLookupError):  # it ended meanwhile
        os.sched_setscheduler(thread, policy, os.sched_param(priority))


def lock_memory() -> str:
    """Lock the process's memory, present and future; takes some 0.1 s the first time.

    Returns one line that says why that could not be done; "" where it was.
    """
    # A finite memlock limit would make later allocations fail.
    soft, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    limited = soft != resource.RLIM_INFINITY and os.geteuid() != 0
    if limited or ctypes.CDLL(None).mlockall(MCL_CURRENT_AND_FUTURE) != 0:
        return f"memory can't be locked, a page fault may delay a tick: {HOW_TO_ALLOW}"
    return ""


def quiet_garbage_collector() -> None:
    """Take what exists out of the collector's sight and stop it from running by itself.

    The tick makes no reference cycles; what other callbacks make is collected by
    `collect_young` between ticks.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


def collect_young() -> None:
    """Collect the youngest generation: some 10 us, called right after a tick."""
    gc.collect(0)


def wake_garbage_collector() -> None:
    """Undo quiet_garbage_collector."""
    gc.enable()
    gc.unfreeze()
