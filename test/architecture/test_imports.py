"""Who may import what: read from the source, so that a lazy import counts, too."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "salus_ros"
ROS = {"rclpy", "rcl_interfaces", "builtin_interfaces", "rosgraph_msgs", "std_srvs"}
TORCH = {"torch", "torchao", "transformers", "lerobot", "triton"}
TORCH_FOLDERS = {"policy", "prediction", "deploy", "bench"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path):
    """Full names of all modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def roots(path):
    return {name.partition(".")[0] for name in imported(path)}


def is_ros(root):
    return root in ROS or root.endswith("_msgs")


def folder(path):
    return path.relative_to(PACKAGE).parts[0]


def name(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_ros_is_imported_in_nodes_alone(path):
    if folder(path) == "nodes":
        return
    assert not {root for root in roots(path) if is_ros(root)}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_torch_is_imported_only_where_models_live(path):
    if folder(path) in TORCH_FOLDERS:
        return
    assert not roots(path) & TORCH


def local_imports(path):
    found = set()
    for module in imported(path):
        parts = module.split(".")
        if parts[0] != "salus_ros":
            continue
        for length in (len(parts), len(parts) - 1):
            candidate = PACKAGE.parent.joinpath(*parts[:length])
            if candidate.with_suffix(".py").is_file():
                found.add(candidate.with_suffix(".py"))
    return found


def reachable(start):
    seen, todo = set(), [start]
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo.extend(local_imports(path))
    return seen


@pytest.mark.parametrize(
    "path", [p for p in MODULES if folder(p) in {"signals", "supervision"}], ids=name
)
def test_signals_and_supervision_reach_neither_ros_nor_torch(path):
    """Also through other modules of this package: the supervisor's process must stay small."""
    for module in reachable(path):
        bad = {root for root in roots(module) if is_ros(root) or root in TORCH}
        assert not bad, f"{name(path)} reaches {name(module)}, which imports {sorted(bad)}"


@pytest.mark.parametrize("path", [p for p in MODULES if folder(p) == "cli"], ids=name)
def test_the_command_line_starts_without_ros(path):
    """`salus --help` and `salus doctor` must work where ROS is missing: nodes come in late."""
    tree = ast.parse(path.read_text())
    at_import = {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)} | {
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    }
    assert not {module for module in at_import if module.startswith("salus_ros.nodes")}
