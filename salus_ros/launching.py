"""What the launch files share. Needs `launch`, so only a launch file imports it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch.actions import EmitEvent, SetEnvironmentVariable
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration

from salus_ros.resources import share_folder


def parameter_file(name: str) -> str:
    """A path, or a name in config/. Raises RuntimeError that lists what is there."""
    if Path(name).is_file():
        return name
    folder = share_folder() / "config"
    path = folder / f"{name.removesuffix('.yaml')}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise RuntimeError(f"config:={name} is neither a file nor one of: {known}")
    return str(path)


def end_where_it_failed(event: Any, context: Any) -> list[EmitEvent] | None:
    """End everything after a node that ended with an error code: it can't work.

    One that was killed (a negative code) leaves the rest up: the supervisor holds the arm.
    """
    if event.returncode > 0 and not context.is_shutdown:
        return [EmitEvent(event=Shutdown(reason=f"{event.action.name} can't work: see above"))]
    return None


def without_shared_memory() -> SetEnvironmentVariable:
    """DDS over UDP: shared memory can hold up a control loop (config/fastdds_loopback.xml)."""
    chosen = os.environ.get("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    return SetEnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", chosen)


def values(context: Any) -> Callable[[str], str]:
    """Looks up a launch argument's value by its name."""
    return lambda name: str(LaunchConfiguration(name).perform(context))
