"""What old observations cost in the task: success against execution horizon and delay."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salus_ros.bench.chunking import Setting, Watched, streams, watch
from salus_ros.bench.supervisor_statistics import rate_interval

PERCENTILE = 95.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One horizon [rows] and delay of every inference [s].

    age: of the observation that a command rests on, in control steps; 95th percentile over all
    executed commands.
    """

    horizon: int
    delay: float
    age: float
    successes: int
    episodes: int

    @property
    def rate(self) -> float:
        """Share of successes."""
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """Of the rate, exact, 95 %."""
        return rate_interval(self.successes, self.episodes)


def run_cell(
    series: Sequence[tuple[str, int]],
    policy: str,
    options: Mapping[str, Any],
    cell: tuple[int, float],
    on_episode: Callable[[Watched], None] = lambda _: None,
) -> Cell:
    """Run (instruction, seed) episodes with a horizon and a delay."""
    horizon, delay = cell
    setting = Setting(latency=delay, execution_horizon=horizon)
    watched = watch(series, policy, options, setting, on_episode)
    found = streams(watched, joints=7)
    ages = np.concatenate([stream.ages() for stream in found])
    step = next(a.chunk.time_step for a in watched[0].arrivals) * 1e-9
    age = float(np.percentile(ages, PERCENTILE)) / step
    return Cell(horizon, delay, age, sum(w.success for w in watched), len(watched))


def loss_interval(best: Cell, cell: Cell) -> tuple[float, float]:
    """Of the success that a cell loses against the best one, 95 %.

    Newcombe's hybrid of the two exact intervals (Statistics in Medicine 17, 1998, method 10 with
    Clopper-Pearson in place of Wilson). The cells have their start states in common, which it
    doesn't use: it is wider than it would have to be.
    """
    (a, (a_low, a_high)), (b, (b_low, b_high)) = ((c.rate, c.interval) for c in (best, cell))
    loss = a - b
    return (
        loss - math.hypot(a - a_low, b_high - b),
        loss + math.hypot(a_high - a, b - b_low),
    )


def limit(cells: Sequence[Cell], margin: float) -> dict[str, Any]:
    """The largest age up to which no cell loses more than the margin, with confidence.

    The cell of the least age is what the others are held against. age: in whole control steps.
    staleness: the largest horizon - 1 among the cells that keep to it.
    """
    ordered = sorted(cells, key=lambda cell: cell.age)
    kept: list[Cell] = ordered[:1]
    for cell in ordered[1:]:
        if loss_interval(ordered[0], cell)[1] > margin:
            break
        kept.append(cell)
    return {
        "margin": margin,
        "age": math.floor(kept[-1].age),
        "staleness": max(cell.horizon for cell in kept) - 1,
        "first_that_loses": None if len(kept) == len(ordered) else _name(ordered[len(kept)]),
    }


def _name(cell: Cell) -> dict[str, Any]:
    return {"horizon": cell.horizon, "delay": cell.delay}


def to_json(cells: Sequence[Cell], margin: float) -> dict[str, Any]:
    """All cells and the limit."""
    best = min(cells, key=lambda cell: cell.age)
    rows = [
        {
            **_name(cell),
            "age": round(cell.age, 2),
            "episodes": cell.episodes,
            "successes": cell.successes,
            "rate": round(cell.rate, 4),
            "interval": [round(x, 4) for x in cell.interval],
            "loss_interval": [round(x, 4) for x in loss_interval(best, cell)],
        }
        for cell in cells
    ]
    return {"cells": rows, "limit": limit(cells, margin)}
