"""`salus doctor`: is everything here that the graph needs, and what to do where it isn't."""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from salus_ros.cli.errors import FAILED
from salus_ros.cli.graph import BUILD_HINT
from salus_ros.cli.output import write_json


@dataclass(frozen=True)
class Finding:
    """One check: level "ok", "warning" (works, but less well) or "error", and what to do."""

    check: str
    level: str
    detail: str
    remedy: str = ""


def _python() -> Finding:
    text = ".".join(map(str, sys.version_info[:3]))
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        return Finding("python", "ok", text)
    return Finding("python", "error", text, "use Python 3.10, 3.11 or 3.12")


def _module(name: str, check: str, remedy: str, level: str = "error") -> Finding:
    if find_spec(name) is None:
        return Finding(check, level, f"{name} is missing", remedy)
    try:
        import_module(name)
    except Exception as error:
        return Finding(check, level, f"{name} can't be imported: {error}", remedy)
    try:
        return Finding(check, "ok", version(name.partition(".")[0].replace("_", "-")))
    except PackageNotFoundError:
        return Finding(check, "ok", name)


def _sedac() -> Finding:
    if find_spec("sedac_core") is None:
        return Finding("sedac core", "warning", "sedac_core is missing", "run `make build`")
    try:
        import_module("sedac_core._core")
    except ImportError:
        remedy = "install Rust (rustup.rs), then `make build`"
        return Finding("sedac core", "warning", "the numpy fallback is used", remedy)
    return Finding("sedac core", "ok", "Rust extension")


def _opengl() -> Finding:
    for library in ("EGL", "OSMesa"):
        if ctypes.util.find_library(library):
            return Finding("off-screen OpenGL", "ok", library)
    remedy = "sudo apt-get install libegl1 libgl1-mesa-dri"
    return Finding("off-screen OpenGL", "warning", "cameras of the rig need it", remedy)


def _realtime() -> Finding:
    from salus_ros.nodes.realtime import may_use_realtime

    if may_use_realtime():
        return Finding("real-time scheduling", "ok", "SCHED_FIFO is allowed")
    remedy = "add '@realtime - rtprio 98' and '@realtime - memlock unlimited' to limits.conf"
    return Finding("real-time scheduling", "warning", "not allowed for this user", remedy)


def _cpu_governor() -> Finding:
    path = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    try:
        with open(path) as file:  # noqa: PTH123
            governor = file.read().strip()
    except OSError:
        return Finding("cpu governor", "ok", "not known")
    if governor == "performance":
        return Finding("cpu governor", "ok", governor)
    return Finding(
        "cpu governor", "warning", governor, "sudo cpupower frequency-set -g performance"
    )


def _domain() -> Finding:
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    scope = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    return Finding("ros domain", "ok", f"{domain}, discovery {scope}")


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    lambda: _module("rclpy", "ros", f"source a ROS 2 Jazzy install, or {BUILD_HINT}"),
    lambda: _module("salus_msgs.msg", "messages", BUILD_HINT),
    lambda: _module("ruckig", "motion generator", "run `make build`"),
    lambda: _module("mujoco", "simulation", "pip install 'salus_ros[sim]'", "warning"),
    _sedac,
    _opengl,
    _realtime,
    _cpu_governor,
    _domain,
)


def doctor(
    json_file: Annotated[
        str, typer.Option("--json", help="File for the findings; -: standard output.")
    ] = "",
) -> None:
    """Check this machine. Exit code 1 where something that the graph needs is missing.

    Example: salus doctor
    """
    findings = [check() for check in CHECKS]
    if json_file:
        write_json(json_file, {"findings": [asdict(finding) for finding in findings]})
    if json_file != "-":
        Console().print(_table(findings))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(FAILED)


def _table(findings: list[Finding]) -> Table:
    table = Table("check", "state", "detail", "what to do")
    colors = {"ok": "green", "warning": "yellow", "error": "red"}
    for finding in findings:
        state = f"[{colors[finding.level]}]{finding.level}[/]"
        table.add_row(finding.check, state, finding.detail, finding.remedy)
    return table
