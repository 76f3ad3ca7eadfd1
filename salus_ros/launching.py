"""What the launch files share. Needs `launch` and `launch_ros`, so only launch files import it."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from launch.actions import EmitEvent, SetEnvironmentVariable
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from salus_ros.resources import share_folder

MANAGED = ("safety_supervisor", "failure_predictor", "signal_publisher", "vla_policy")
MANAGER = "lifecycle_manager"
# Policy and supervisor are never restarted by themselves: a person looks first.
RESTARTABLE = ("failure_predictor", "signal_publisher")
# Parameters by node; "/**": of all of them.
Overrides = Mapping[str, Mapping[str, object]]


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


def graph_nodes(
    config: str,
    overrides: Overrides,
    *,
    names: Container[str] = (*MANAGED, MANAGER),
    autostart: bool,
    restart: bool,
) -> list[Node]:
    """The managed nodes and their manager, those in `names`; overrides: over the file's values."""
    wanted = {
        "/**": overrides.get("/**", {}),
        MANAGER: {
            "autostart": autostart,
            "restore_lost_nodes": restart,
            "exit_on_failure": True,
            **overrides.get(MANAGER, {}),
        },
    }
    made = [
        LifecycleNode(
            name=name,
            namespace="",
            respawn=restart and name in RESTARTABLE,
            **_described(name, config, {**overrides, **wanted}),
        )
        for name in MANAGED
        if name in names
    ]
    if MANAGER in names:
        made.append(plain_node(MANAGER, config, wanted))
    return made


def plain_node(name: str, config: str, overrides: Overrides) -> Node:
    """A node without a lifecycle."""
    return Node(name=name, **_described(name, config, overrides))


def _described(name: str, config: str, overrides: Overrides) -> dict[str, Any]:
    own = {**overrides.get("/**", {}), **overrides.get(name, {})}
    # SROS 2: config/sros2 has an enclave for each node.
    secured = os.environ.get("ROS_SECURITY_ENABLE", "").lower() == "true"
    return {
        "package": "salus_ros",
        "executable": name,
        "parameters": [config, *([own] if own else [])],
        "ros_arguments": ["--enclave", f"/salus/{name}"] if secured else [],
        "on_exit": end_where_it_failed,
        "output": "screen",
    }
