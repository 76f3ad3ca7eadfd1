"""`salus doctor`: is everything here that the graph needs, and what to do where it isn't."""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from salus_ros import compiled
from salus_ros.cli.errors import FAILED, USAGE, UserError
from salus_ros.cli.findings import Finding
from salus_ros.cli.graph import BUILD_HINT, parameter_file, require_ros
from salus_ros.cli.output import write_json


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


def _compiled() -> Finding:
    count = compiled.modules()
    if count:
        return Finding("compiled modules", "ok", f"{count}, of these sources")
    remedy = "`make build`, with a C compiler and Python's headers"
    return Finding("compiled modules", "warning", "none: a tick takes twice as long", remedy)


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
    _compiled,
    _opengl,
    _realtime,
    _cpu_governor,
    _domain,
)


def doctor(
    rig: Annotated[
        bool, typer.Option("--rig", help="Also check this machine and the running rig's topics.")
    ] = False,
    config: Annotated[str, typer.Option(help="The rig's parameter file, by path or name.")] = "fr3",
    cameras: Annotated[
        str,
        typer.Option(help="Cameras to look at: front,wrist or front=/topic; empty: the file's."),
    ] = "",
    seconds: Annotated[
        float, typer.Option(help="How long the rig is listened to [s].", min=0.5, max=600.0)
    ] = 5.0,
    alive: Annotated[
        str, typer.Option(help="Only this: nodes, with commas, that must be heard in that time.")
    ] = "",
    json_file: Annotated[
        str, typer.Option("--json", help="File for the findings; -: standard output.")
    ] = "",
) -> None:
    """Check this machine. Exit code 1 where something that the graph needs is missing.

    Example: salus doctor --rig --config fr3 --cameras front,wrist
    """
    if alive:
        findings = [_alive(alive.split(","), seconds)]
    else:
        findings = [check() for check in CHECKS]
        if rig:
            findings += _rig(config, cameras, seconds)
    if json_file:
        write_json(json_file, {"findings": [asdict(finding) for finding in findings]})
    if json_file != "-":
        Console().print(_table(findings))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(FAILED)


def _alive(names: list[str], seconds: float) -> Finding:
    require_ros()
    from salus_ros.nodes.rig_watch import RigWatch

    with RigWatch({}, "") as watch:
        watch.listen(seconds, lambda report: set(names) <= set(report.heartbeats))
        missing = [name for name in names if name not in watch.report.heartbeats]
    if missing:
        return Finding("alive", "error", f"not heard: {', '.join(missing)}", "see their logs")
    return Finding("alive", "ok", ", ".join(names))


def _rig(config: str, cameras: str, seconds: float) -> list[Finding]:
    from salus_ros.cli.rig_machine import machine_findings
    from salus_ros.nodes.rig_findings import RigSettings, rig_findings

    require_ros()
    from salus_ros.nodes.rig_watch import RigWatch

    try:
        settings = RigSettings(parameter_file(config), cameras)
    except ValueError as error:
        raise UserError(f"cameras: {error}", USAGE) from error
    with RigWatch(settings.cameras, settings.command_topic) as watch:
        watch.listen(seconds)
    return machine_findings() + rig_findings(watch.report, settings)


def _table(findings: list[Finding]) -> Table:
    table = Table("check", "state", "detail", "what to do")
    colors = {"ok": "green", "warning": "yellow", "error": "red"}
    for finding in findings:
        state = f"[{colors[finding.level]}]{finding.level}[/]"
        table.add_row(finding.check, state, finding.detail, finding.remedy)
    return table
