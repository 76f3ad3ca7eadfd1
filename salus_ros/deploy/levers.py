"""What a configuration is made of, and which values a policy offers on a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from typing import Any


class CompileError(ValueError):
    """The compiler can't do this; one line says why and what to do."""


@dataclass(frozen=True, slots=True)
class Levers:
    """One configuration.

    precision: see policy/quantization/precision.py. flow_steps: Euler steps. sampler: eager, traced
    or graph. early_exit: a setting's name, or off. draft_steps: of a speculative draft, 0: none.
    execution_horizon: rows of a chunk that are executed before the next one is wanted.
    """

    precision: str = "float32"
    flow_steps: int = 10
    sampler: str = "eager"
    early_exit: str = "off"
    draft_steps: int = 0
    execution_horizon: int = 1

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return asdict(self)

    def without_horizon(self) -> Levers:
        """What has to be measured: the horizon only says how often it runs."""
        return replace(self, execution_horizon=1)

    def __str__(self) -> str:
        parts = [self.precision, f"{self.flow_steps} steps", self.sampler]
        parts += [f"exit {self.early_exit}"] * (self.early_exit != "off")
        parts += [f"draft {self.draft_steps}"] * bool(self.draft_steps)
        return ", ".join(parts)


LEVERS = tuple(f.name for f in fields(Levers))


@dataclass(frozen=True, slots=True)
class Grid:
    """Values of each lever; the first is that of the full policy.

    left_out: reasons, by what isn't offered ("sampler=graph").
    """

    values: Mapping[str, tuple[Any, ...]]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def full(self) -> Levers:
        """Full precision and steps, nothing skipped: what fidelity is relative to."""
        return Levers(**{name: values[0] for name, values in self.values.items()})

    def configurations(self) -> list[Levers]:
        """All that make sense, the horizon apart; those with the fewest changes come first."""
        full = self.full
        names = [name for name in LEVERS if name != "execution_horizon"]
        found = [
            Levers(**dict(zip(names, row, strict=True)), execution_horizon=full.execution_horizon)
            for row in product(*(self.values[name] for name in names))
        ]
        found = [levers for levers in found if self._makes_sense(levers)]
        return sorted(found, key=lambda levers: _changes(levers, full))

    def _makes_sense(self, levers: Levers) -> bool:
        if levers.draft_steps and levers.flow_steps != self.full.flow_steps:
            return False  # a draft of an approximation
        # A trace of torchao's plain operations is folded: the weights would be float32 again.
        return not (levers.sampler == "traced" and levers.precision.endswith("-torchao"))

    def restricted(self, wanted: Mapping[str, Sequence[str]]) -> Grid:
        """Only these values of the levers that are named. Raises CompileError.

        The full policy's value stays first where it is among them.
        """
        values = dict(self.values)
        for name, texts in wanted.items():
            chosen = [self._value(name, text) for text in texts]
            values[name] = tuple(value for value in self.values[name] if value in chosen)
        return Grid(values, self.left_out)

    def _value(self, name: str, text: str) -> Any:
        offered = {str(value): value for value in self.values[name]}
        if text in offered:
            return offered[text]
        why = self.left_out.get(f"{name}={text}")
        raise CompileError(
            f"{name}={text} is left out here: {why}"
            if why
            else f"lever {name} has no value '{text}'; it has: {', '.join(offered)}"
        )


def _changes(levers: Levers, full: Levers) -> int:
    return sum(getattr(levers, name) != getattr(full, name) for name in LEVERS)


def parse_levers(texts: Sequence[str]) -> dict[str, list[str]]:
    """NAME=VALUE[,VALUE...] each. Raises CompileError."""
    found = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not values:
            raise CompileError(f"--lever {text}: give NAME=VALUE[,VALUE...]")
        if name not in LEVERS:
            raise CompileError(f"unknown lever '{name}'; known: {', '.join(LEVERS)}")
        found[name] = values.split(",")
    return found


def step_values(full: int) -> tuple[int, ...]:
    """All, half and a fifth of the steps (10, 5, 2)."""
    return tuple(dict.fromkeys(max(1, full // part) for part in (1, 2, 5)))


def horizon_values(rows: int) -> tuple[int, ...]:
    """One row, a quarter of the chunk, all of it."""
    return tuple(dict.fromkeys((1, max(1, rows // 4), rows)))
