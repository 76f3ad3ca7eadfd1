"""Which machine a measurement is of, and what has to be the same for it to hold."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from salus_ros.bench.provenance import hardware, versions

SOURCES = ("policy/**/*.py", "deploy/*.py")
"""Of this package, what a measurement computes with."""
DRIVER = Path("/proc/driver/nvidia/version")
SAME = ("cpu", "cores", "gpu")
"""Of the hardware: where these differ, so may every time."""
DEPLOY_PACKAGES = ("torchao",)


def this_machine(device: str = "cpu") -> dict[str, Any]:
    """`hardware()`, and the GPU's name where the device is one."""
    return {"gpu": None, **hardware(device)}


def load_average() -> float:
    """Processes that want a core, over the last minute; this one counts."""
    return round(os.getloadavg()[0], 2)


def busy(load: float, cores: int) -> str:
    """A warning where others take the cores that are measured on; "" where they don't."""
    if load <= cores + 1:
        return ""
    return (
        f"the machine is busy (load average {load:g} on {cores} cores): times are of a busy "
        "machine and won't come again"
    )


def all_versions() -> dict[str, str]:
    """Of what a measurement depends on."""
    found = versions()
    for package in DEPLOY_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def code() -> dict[str, str]:
    """SHA-256 of what is measured with: this package's sources, and the GPU's driver."""
    package, found = Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(file for pattern in SOURCES for file in package.glob(pattern)):
        found.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes())
    driver = DRIVER.read_bytes() if DRIVER.is_file() else b""
    return {"sources": found.hexdigest(), "driver": hashlib.sha256(driver).hexdigest()}


def differences(measured_on: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What is other hardware, one line each."""
    return [
        f"{name} was {measured_on.get(name)}, here it is {here.get(name)}"
        for name in SAME
        if measured_on.get(name) != here.get(name)
    ]
