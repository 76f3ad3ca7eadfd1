"""Whether this machine is fit for a rig: kernel, permissions, processor, network, clock."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
from collections.abc import Callable, Iterable
from pathlib import Path

from salus_ros.cli.findings import OK, WARNING, Finding

# Linux's own default holds a fraction of one raw image.
RECEIVE_BUFFER = 8 << 20  # bytes
LARGEST_CLOCK_ERROR = 0.005  # s
SUPERVISOR_PRIORITY = 80
TIME_ERROR = 5  # ntp_gettime(3): the clock isn't synchronised


def machine_findings(root: Path = Path("/")) -> list[Finding]:
    """All checks; root: where /sys and /proc lie."""
    checks: Iterable[Callable[[Path], Finding]] = (
        kernel,
        priority_limit,
        memory_limit,
        governors,
        receive_buffer,
        clock,
    )
    return [check(root) for check in checks]


def kernel(root: Path) -> Finding:
    """A kernel with PREEMPT_RT."""
    name = platform.release()
    if _read(root / "sys/kernel/realtime") == "1" or "PREEMPT_RT" in platform.version():
        return Finding("real-time kernel", OK, name)
    remedy = "needed where the robot's driver runs (1 kHz); Ubuntu: sudo pro enable realtime-kernel"
    return Finding("real-time kernel", WARNING, f"{name} is without PREEMPT_RT", remedy)


def priority_limit(_: Path) -> Finding:
    """SCHED_FIFO at the supervisor's priority."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_RTPRIO)
    unlimited = soft == resource.RLIM_INFINITY
    if os.geteuid() == 0 or unlimited or soft >= SUPERVISOR_PRIORITY:
        return Finding("rtprio limit", OK, "root" if os.geteuid() == 0 else str(soft))
    remedy = "add '@realtime - rtprio 98' to /etc/security/limits.conf, log in again"
    return Finding("rtprio limit", WARNING, f"{soft}, below {SUPERVISOR_PRIORITY}", remedy)


def memory_limit(_: Path) -> Finding:
    """Memory that may be locked."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if os.geteuid() == 0 or soft == resource.RLIM_INFINITY:
        return Finding("memlock limit", OK, "unlimited")
    remedy = "add '@realtime - memlock unlimited' to /etc/security/limits.conf, log in again"
    return Finding("memlock limit", WARNING, f"{soft >> 10} KiB", remedy)


def governors(root: Path) -> Finding:
    """Every core at its full clock."""
    paths = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
    slow = [path.parts[-3] for path in paths if _read(path) != "performance"]
    if not slow:
        return Finding("cpu governors", OK, "performance" if paths else "not known")
    remedy = "sudo cpupower frequency-set -g performance; on a Jetson: sudo jetson_clocks"
    return Finding("cpu governors", WARNING, f"not performance: {', '.join(slow)}", remedy)


def receive_buffer(root: Path) -> Finding:
    """Room for whole images in the kernel."""
    text = _read(root / "proc/sys/net/core/rmem_max")
    if not text.isdigit():
        return Finding("network buffers", OK, "not known")
    size = int(text)
    if size >= RECEIVE_BUFFER:
        return Finding("network buffers", OK, f"rmem_max {size >> 20} MiB")
    remedy = f"sudo sysctl -w net.core.rmem_max={RECEIVE_BUFFER} (and in /etc/sysctl.d)"
    return Finding("network buffers", WARNING, f"rmem_max {size >> 10} KiB", remedy)


def clock(_: Path) -> Finding:
    """A clock that follows another: ages are judged by stamps of two machines."""
    synchronised, error = _ntp_state()
    remedy = "install chrony on both machines, the GPU machine following the robot's PC"
    if not synchronised:
        return Finding("clock", WARNING, "not synchronised", remedy)
    if error > LARGEST_CLOCK_ERROR:
        return Finding("clock", WARNING, f"within {1e3 * error:.1f} ms by its own estimate", remedy)
    return Finding("clock", OK, f"within {1e3 * error:.2f} ms by its own estimate")


def _ntp_state() -> tuple[bool, float]:
    """Whether the kernel's clock is synchronised, and its estimated error [s]."""
    # struct ntptimeval: two longs of time, then maxerror and esterror [us].
    fields = (ctypes.c_long * 16)()
    try:
        state = ctypes.CDLL(None).ntp_gettime(ctypes.byref(fields))
    except AttributeError:  # not in this C library
        return False, 0.0
    return state not in (TIME_ERROR, -1), fields[3] * 1e-6


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
