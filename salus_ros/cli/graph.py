"""Which processes make up the graph, and checks before they are started."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import yaml

from salus_ros.cli.errors import USAGE, UserError
from salus_ros.cli.processes import BRIDGE, MANAGER, RIG, SUPERVISOR, NodeProcess
from salus_ros.resources import config_file

GRAPH = (SUPERVISOR, "failure_predictor", "signal_publisher", "vla_policy", MANAGER)
BUILD_HINT = "run `make build` (or colcon build --base-paths . msg, and source its install)"
# The default of ROS is domain 0, which other graphs on this machine are likely to use.
DEMO_DOMAINS = range(20, 100)
PARTICIPANTS = 12  # of a graph, at most


def require_ros() -> None:
    """Raise UserError where rclpy or the messages can't be found."""
    if find_spec("rclpy") is None:
        raise UserError(f"rclpy is missing: source a ROS 2 Jazzy install, or {BUILD_HINT}")
    if find_spec("salus_msgs") is None:
        raise UserError(f"salus_msgs is missing: {BUILD_HINT}")


def parameter_file(name: str) -> Path:
    """A parameter file by path, or by its name in config/. Raises UserError."""
    path = Path(name)
    if not path.is_file():
        try:
            path = config_file(name if name.endswith(".yaml") else f"{name}.yaml")
        except FileNotFoundError as error:
            raise UserError(str(error), USAGE) from error
    _check_yaml(path)
    return path.resolve()


def _check_yaml(path: Path) -> None:
    known = {*GRAPH, RIG, BRIDGE}
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML: {error}", USAGE) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no parameters", USAGE)
    for node, body in content.items():
        if node not in known and node != "/**":
            raise UserError(
                f"{path}: unknown node '{node}'; known: {', '.join(sorted(known))}", USAGE
            )
        if not isinstance(body, dict) or "ros__parameters" not in body:
            raise UserError(f"{path}: '{node}' lacks ros__parameters", USAGE)


def graph_processes(
    config: Path, sim: bool, parameters: Mapping[str, Mapping[str, object]]
) -> list[NodeProcess]:
    """The processes to start; `parameters` by node, over the file's.

    A robot's own node goes with them where the file has a section for it.
    """
    robot = (BRIDGE,) if BRIDGE in yaml.safe_load(config.read_text()) else ()
    names = (RIG, *GRAPH) if sim else (*robot, *GRAPH)
    return [NodeProcess(name, config, parameters.get(name, {})) for name in names]


def chosen_domain() -> int | None:
    """The ROS domain that the user has chosen, None where there is none. Raises UserError."""
    text = os.environ.get("ROS_DOMAIN_ID")
    if text is None:
        return None
    if not text.isdigit() or not 0 <= int(text) <= 232:
        raise UserError(f"ROS_DOMAIN_ID is {text!r}: give a number from 0 to 232", USAGE)
    return int(text)


def use_free_domain() -> int:
    """Take a ROS domain that nobody on this machine uses. Raises UserError."""
    for domain in DEMO_DOMAINS:
        if _is_free(domain):
            os.environ["ROS_DOMAIN_ID"] = str(domain)
            return domain
    raise UserError("all ROS domains from 20 to 99 are in use: end what runs there")


def _is_free(domain: int) -> bool:
    """Whether the UDP ports of a domain's participants are free (DDSI-RTPS 2.3, 9.6.1.1).

    Not only that of the first: it may have ended while others are still about to.
    """
    return all(_port_is_free(7400 + 250 * domain + 10 + 2 * n) for n in range(PARTICIPANTS))


def _port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
