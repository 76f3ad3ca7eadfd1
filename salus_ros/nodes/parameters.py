"""Parameters with type, range and description, checked before a node does anything with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

# Parameters that rclpy itself puts on every node.
BUILT_IN = {"use_sim_time", "start_type_description_service"}


class ParameterError(ValueError):
    """A parameter is unknown or its value can't be used; the message is one line for the user."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    default: also gives the type. minimum, maximum: inclusive, numbers only. choices: the values
    allowed, strings only. tunable: may change while the node is configured.
    """

    name: str
    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    tunable: bool = False

    def problem(self, value: Any) -> str | None:
        """One line that says why this value can't be used; None where it can."""
        if self.choices and value not in self.choices:
            return f"{self.name}: {value!r} is not one of {', '.join(self.choices)}"
        if self.minimum is not None and value < self.minimum:
            return f"{self.name}: {value} is below its minimum {self.minimum}"
        if self.maximum is not None and value > self.maximum:
            return f"{self.name}: {value} is above its maximum {self.maximum}"
        return None

    def descriptor(self) -> ParameterDescriptor:
        """The ROS descriptor, so that rqt and `ros2 param describe` show range and meaning."""
        constraints = f"one of {', '.join(self.choices)}" if self.choices else ""
        descriptor = ParameterDescriptor(
            description=self.description, additional_constraints=constraints
        )
        if self.minimum is not None and self.maximum is not None:
            if isinstance(self.default, float):
                bounds = FloatingPointRange(from_value=self.minimum, to_value=self.maximum)
                descriptor.floating_point_range = [bounds]
            else:
                whole = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum))
                descriptor.integer_range = [whole]
        return descriptor


def declare(node: Node, parameters: Sequence[Parameter]) -> None:
    """Declare all parameters; raises ParameterError for an unknown one or an unusable value."""
    known = {parameter.name for parameter in parameters} | BUILT_IN
    # rclpy silently ignores an override that nothing declares, so a misspelt limit would be lost.
    given = set(node._parameter_overrides)
    unknown = {n for n in given - known if not n.startswith("qos_overrides.")}
    if unknown:
        raise ParameterError(
            f"unknown parameter '{sorted(unknown)[0]}'; known: {', '.join(sorted(known))}"
        )
    for parameter in parameters:
        _declare_one(node, parameter)


def _declare_one(node: Node, parameter: Parameter) -> None:
    override = node._parameter_overrides.get(parameter.name)
    value = parameter.default if override is None else override.value
    if isinstance(parameter.default, float) and isinstance(value, int):
        # YAML reads `1` as an integer; a user who writes it for a float means 1.0.
        value = float(value)
    expected = RosParameter.Type.from_parameter_value(parameter.default)
    if RosParameter.Type.from_parameter_value(value) != expected:
        raise ParameterError(
            f"{parameter.name}: {value!r} is of type {type(value).__name__}, "
            f"give a {expected.name.lower()}"
        )
    problem = parameter.problem(value)
    if problem:
        raise ParameterError(problem)
    node.declare_parameter(parameter.name, value, parameter.descriptor(), ignore_override=True)


def refuse_bad_changes(
    parameters: Sequence[Parameter], changes: Sequence[RosParameter], configured: bool
) -> SetParametersResult:
    """On-set check: ranges, and no change of a fixed parameter while the node is configured."""
    by_name = {parameter.name: parameter for parameter in parameters}
    for change in changes:
        parameter = by_name.get(change.name)
        if parameter is None:
            continue
        problem = parameter.problem(change.value)
        if configured and not parameter.tunable:
            problem = f"{change.name} can't change while the node is configured: clean it up first"
        if problem:
            return SetParametersResult(successful=False, reason=problem)
    return SetParametersResult(successful=True)
