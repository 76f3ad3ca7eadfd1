"""Where a result comes from: hardware, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "salus_ros",
    "sedac_core",
    "numpy",
    "ruckig",
    "mujoco",
    "ros-rclpy",
    "torch",
    "triton",
    "lerobot",
)


def provenance(device: str = "cpu") -> dict[str, object]:
    """Keys `hardware`, `versions` (of packages that are installed), `commit`."""
    return {"hardware": hardware(device), "versions": versions(), "commit": commit()}


def hardware(device: str = "cpu") -> dict[str, object]:
    """Processor model, cores this process may use, operating system; `gpu` where it is used."""
    found: dict[str, object] = {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    return found if device != "cuda" else {**found, "gpu": _gpu_name()}


def _gpu_name() -> str | None:
    import torch  # noqa: PLC0415 - the policy node asks without a GPU, too

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Commit of the checkout that this runs from, "-dirty" behind it where files differ.

    What SALUS_COMMIT says, where it is set: for a copy without git's folder, as in a container.
    """
    if told := os.environ.get("SALUS_COMMIT"):
        return told
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()
