"""Check 6's space: the box that the arm's points stay in, and the boxes that they stay out of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.arm_columns import Postures
from salus_ros.supervision.arm_kinematics import (
    JOINTS,
    POINT_NAMES,
    Posture,
    Tool,
    Vector,
    posture,
)
from salus_ros.supervision.errors import LimitsError
from salus_ros.supervision.yaml_file import read_yaml

# Whoever misses a unit (mm for m) shall notice.
COORDINATE_MAX: Final = 5.0
TOOL_MAX: Final = 1.0


@dataclass(frozen=True, slots=True)
class Box:
    """Axis-parallel box in the robot's base frame: corners [3] m."""

    name: str
    lower: tuple[float, float, float]
    upper: tuple[float, float, float]

    def depth(self, x: float, y: float, z: float) -> float:
        """How deep [m] a point is inside: distance to the nearest face, below 0 outside."""
        # Two at a time: mypyc compiles that to a comparison, and this to plain numbers.
        x0, y0, z0 = self.lower
        x1, y1, z1 = self.upper
        across, along, up = min(x - x0, x1 - x), min(y - y0, y1 - y), min(z - z0, z1 - z)
        return min(min(across, along), up)

    def depths(self, points: FloatArray) -> FloatArray:
        """The same for points [..., 3]: [...]."""
        lower, upper = np.array(self.lower), np.array(self.upper)
        nearest: FloatArray = np.minimum(points - lower, upper - points).min(axis=-1)
        return nearest


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where elbow, flange, tool point and fingertips may be. Only these points: not the links."""

    tool: Tool
    box: Box
    forbidden: tuple[Box, ...] = ()

    def margin(self, point: Vector) -> float:
        """Distance [m] that a point at least keeps from leaving; below 0: it is outside."""
        x, y, z = point
        margin = self.box.depth(x, y, z)
        for box in self.forbidden:
            margin = min(margin, -box.depth(x, y, z))
        return margin

    def least_margin(self, place: Posture) -> float:
        """The same of a posture: its points' least."""
        arm = min(self.margin(place.elbow), self.margin(place.flange))
        fingers = min(self.margin(place.fingers[0]), self.margin(place.fingers[1]))
        return min(min(arm, self.margin(place.tool)), fingers)

    def margin_columns(self, places: Postures) -> FloatArray:
        """The same of each point of n postures: [points, n]."""
        margins = self.box.depths(places.points)
        for box in self.forbidden:
            np.minimum(margins, -box.depths(places.points), out=margins)
        return margins

    def outside(self, positions: Sequence[float]) -> str:
        """Which point is outside at joint positions [7] rad, in one line; empty: none is."""
        return self.worst([posture(list(positions), self.tool)])[2]

    def describe(self, point: Sequence[float], index: int, beyond: float) -> str:
        """One line about a point outside."""
        where = ", ".join(f"{value:.3f}" for value in point)
        inside = next((box.name for box in self.forbidden if box.depth(*point) > 0), "")
        what = f"inside '{inside}'" if inside else "outside the workspace"
        return f"{POINT_NAMES[index]} at ({where}) m is {what} by {beyond:.3g} m"

    def worst_row(self, rows: FloatArray) -> tuple[float, int, str]:
        """Least margin [m] over rows [n, 7] rad, its row, one line about it; empty: inside."""
        return self.worst([posture(row, self.tool) for row in rows.tolist()])

    def worst(self, places: list[Posture]) -> tuple[float, int, str]:
        """The same for postures."""
        margins = [self.least_margin(place) for place in places]
        least = min(margins)
        row = margins.index(least)
        if least >= 0:
            return least, row, ""
        points = places[row].points
        index = [self.margin(point) for point in points].index(least)
        return least, row, self.describe(points[index], index, -least)


def load_workspace(path: Path, joints: int = JOINTS) -> Workspace:
    """A workspace from a YAML file, for an arm of so many joints.

    Raises LimitsError, one line, where it can't be read or something is missing or senseless.
    """
    content = read_yaml(path)
    if joints != JOINTS:
        raise LimitsError(f"{path}: the arm has {joints} joints, a Panda or FR3 has {JOINTS}")
    try:
        return workspace_from_mapping(content)
    except LimitsError as error:
        raise LimitsError(f"{path}: {error}") from error


def workspace_from_mapping(content: Any) -> Workspace:
    """A workspace from a parsed mapping with the keys tool, box and (optional) forbidden."""
    entry = _mapping(content, "the file").get("workspace")
    entry = _mapping(entry, "workspace")
    unknown = set(entry) - {"tool", "box", "forbidden"}
    if unknown:
        raise LimitsError(f"workspace: unknown key {sorted(map(str, unknown))[0]!r}")
    tool = _mapping(entry.get("tool"), "tool")
    forbidden = entry.get("forbidden", [])
    if not isinstance(forbidden, list):
        raise LimitsError(f"forbidden is {forbidden!r}: give a list of boxes")
    return Workspace(
        Tool(_length(tool, "flange_to_tool"), _length(tool, "tool_to_fingertip")),
        _box("box", _mapping(entry.get("box"), "box")),
        tuple(_named_box(number, box) for number, box in enumerate(forbidden)),
    )


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise LimitsError(f"{name} is {value!r}: give a mapping (see config/panda_workspace.yaml)")
    return value


def _length(tool: Mapping[str, Any], key: str) -> float:
    value: Any = tool.get(key)
    if not _is_number(value) or not 0 <= value <= TOOL_MAX:
        raise LimitsError(f"tool: {key} is {value!r}: give metres from 0 to {TOOL_MAX:g}")
    return float(value)


def _named_box(number: int, entry: Any) -> Box:
    box = _mapping(entry, f"forbidden[{number}]")
    return _box(str(box.get("name", f"forbidden[{number}]")), box)


def _box(name: str, entry: Mapping[str, Any]) -> Box:
    lower, upper = _corner(name, entry, "lower"), _corner(name, entry, "upper")
    if not all(low < high for low, high in zip(lower, upper, strict=True)):
        raise LimitsError(f"{name}: lower {lower} is not below upper {upper} in x, y and z")
    return Box(name, lower, upper)


def _corner(name: str, entry: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    value = entry.get(key)
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(_is_number(x) and abs(x) <= COORDINATE_MAX for x in value)
    ):
        raise LimitsError(
            f"{name}: {key} is {value!r}: give [x, y, z] in metres within {COORDINATE_MAX:g}"
        )
    return float(value[0]), float(value[1]), float(value[2])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
