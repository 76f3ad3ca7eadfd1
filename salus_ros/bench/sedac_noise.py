"""How many exits are wrong: one layer's risk against confidence accumulated over layers.

A token has a true difficulty d in [0, 1]; the probe at checkpoint i reads
r_i = max(0, d + e_i), e_i ~ N(0, sigma²). Exiting at checkpoint i is wrong where d is above the
difficulty allowed there. Each rule's thresholds are solved on calibration tokens so that the same
share of tokens has exited up to each checkpoint: equal exit rates, and equal depths. Wrong exits
are then counted on fresh tokens. Everything runs through the public interface of `sedac_core`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salus_ros.reporting import html_figures, html_table
from sedac_core import (
    CascadeController,
    LayerConfig,
    fit_weights,
    solve_confidence_targets,
)

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

ALLOWED = np.array([0.2, 0.5, 0.8])
CHECKPOINTS = range(3)
WEIGHTS = [0.3, 0.4, 0.3]
FIXED_THRESHOLDS = [0.8, 1.0, 1.2]
SIGMAS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
# Overall exit rates; up to the earlier checkpoints a quarter and five eighths of it have exited.
EXIT_RATES = (0.4, 0.8, 0.95)
SHARES = np.array([0.25, 0.625, 1.0])

SINGLE = "single layer"


def quantile_thresholds(risk: Floats, levels: Sequence[float]) -> list[float]:
    """Return one quantile a checkpoint, as calibration sets the thresholds."""
    pairs = zip(risk, levels, strict=True)
    return [max(float(np.quantile(row, level)), 1e-6) for row, level in pairs]


# What sets the scale of confidence: fixed thresholds, or a quantile of the calibration samples.
SCALES: dict[str, Callable[[Floats, Sequence[float]], list[float]]] = {
    "accumulated, default thresholds": lambda risk, rates: FIXED_THRESHOLDS,
    "accumulated, scale_quantile=None": quantile_thresholds,
    "accumulated, scale_quantile=0.95": lambda risk, rates: quantile_thresholds(
        risk, [0.95] * len(risk)
    ),
}

CALIBRATION_TOKENS = 20_000
TEST_TOKENS = 50_000
REPLICATES = 10
# Exit rates further apart than this are not equal.
LARGEST_MISMATCH = 0.005
# 97.5 % quantile of Student's t with REPLICATES - 1 degrees of freedom.
STUDENT = 2.262


@dataclass(frozen=True)
class Interval:
    """Mean over the replicates with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class NoiseRow:
    """One rule at one noise and exit rate.

    wrong: share of wrong ones among its exits. saved: wrong share of the single-layer rule on the
    same tokens minus this one's; above 0 where this rule is better.
    """

    rule: str
    sigma: float
    asked_exit_rate: float
    exit_rate: Interval
    wrong: Interval
    saved: Interval


def interval(values: list[float]) -> Interval:
    """Return mean and Student's interval of one value a replicate."""
    mean = float(np.mean(values))
    half = STUDENT * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def tokens(count: int, sigma: NDArray[np.float64], seed: int) -> tuple[Floats, Flags]:
    """Return risks [3, count], and whether exiting at each checkpoint is right; sigma [3]."""
    rng = np.random.default_rng(seed)
    difficulty = rng.uniform(0, 1, count)
    noise = sigma[:, None] * rng.standard_normal((len(sigma), count))
    risk = np.maximum(0, difficulty + noise).astype(np.float32)
    return risk, difficulty <= ALLOWED[:, None]


def single_layer_rule(risk: Floats, rates: NDArray[np.float64]) -> tuple[Any, list[float]]:
    """Return the older rule with thresholds for these cumulative rates, and the rates it gets.

    Ties (many risks are exactly 0 under strong noise) make some rates unreachable; the nearest is
    taken, and the other rules are then solved for what this one got.
    """
    alive, thresholds, reached = np.ones(risk.shape[1], np.bool_), [], []
    for row, rate in zip(risk, rates, strict=True):
        wanted = round(rate * len(row)) - int((~alive).sum())
        thresholds.append(_threshold(np.sort(row[alive]), wanted))
        alive &= row >= np.float32(thresholds[-1])
        reached.append(float((~alive).mean()))
    layers = [
        LayerConfig(layer, rate, threshold, 1.0)
        for layer, rate, threshold in zip(CHECKPOINTS, rates, thresholds, strict=True)
    ]
    return CascadeController(layers, mode="single_layer"), reached


def _threshold(ranked: Floats, wanted: int) -> float:
    """Return the threshold below which the number of risks is nearest to what is wanted."""
    last = ranked[min(max(wanted, 1), len(ranked)) - 1]
    above = np.nextafter(last, np.float32(np.inf))
    without, within = (abs(int((ranked < value).sum()) - wanted) for value in (last, above))
    return max(float(above if within < without else last), 1e-6)


def accumulated_rule(
    risk: Floats,
    rates: Sequence[float],
    thresholds: Sequence[float],
    weights: Sequence[float],
    decay: float = 0.9,
) -> Any:
    """Return the accumulated rule with confidence targets solved for these cumulative rates."""

    def layers(targets: Sequence[float | None]) -> list[Any]:
        columns = zip(rates, thresholds, weights, targets, strict=True)
        return [LayerConfig(i, max(row[0], 1e-9), *row[1:]) for i, row in enumerate(columns)]

    targets = solve_confidence_targets(risk, layers([None] * len(risk)), decay)
    return CascadeController(layers(targets), confidence_decay=decay)


def exits_and_wrong(controller: Any, risk: Floats, right: Flags) -> tuple[float, float]:
    """Return the share of tokens that exit, and the share of wrong ones among those exits."""
    exit_layer = controller.evaluate(risk).exit_layer
    exits = int((exit_layer >= 0).sum())
    wrong = sum(int(((exit_layer == i) & ~row).sum()) for i, row in enumerate(right))
    return exits / len(exit_layer), wrong / max(exits, 1)


def noise_study(seed: int = 0) -> Iterator[list[NoiseRow]]:
    """Yield the rows of one noise and exit rate after the other."""
    for sigma in SIGMAS:
        for rate in EXIT_RATES:
            yield _noise_rows(sigma, rate, seed)


def _noise_rows(sigma: float, rate: float, seed: int) -> list[NoiseRow]:
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in (SINGLE, *SCALES)}
    for replicate in range(REPLICATES):
        noise = np.full(len(ALLOWED), sigma)
        calibration, _ = tokens(CALIBRATION_TOKENS, noise, seed + 2 * replicate)
        risk, right = tokens(TEST_TOKENS, noise, seed + 2 * replicate + 1)
        single, reached = single_layer_rule(calibration, rate * SHARES)
        measured[SINGLE].append(exits_and_wrong(single, risk, right))
        for name, scale in SCALES.items():
            rule = accumulated_rule(calibration, reached, scale(calibration, reached), WEIGHTS)
            measured[name].append(exits_and_wrong(rule, risk, right))
    baseline = [wrong for _, wrong in measured[SINGLE]]
    return [
        NoiseRow(
            name,
            sigma,
            rate,
            interval([exits for exits, _ in pairs]),
            interval([wrong for _, wrong in pairs]),
            interval([base - wrong for base, (_, wrong) in zip(baseline, pairs, strict=True)]),
        )
        for name, pairs in measured.items()
    ]


@dataclass(frozen=True)
class WeightRow:
    """Learned weights against the default ones on held-out tokens, per data set.

    wrong_default, wrong_learned: wrong exits per token at the same exit rate.
    exits_default, exits_learned: exit rate at the same number of wrong exits, the default's.
    """

    data: str
    weights: list[float]
    confidence_decay: float
    wrong_default: float
    wrong_learned: float
    exits_default: float
    exits_learned: float


# Noise of each checkpoint's probe: all alike, better with depth, and one that knows nothing.
PROBES = {
    "equal probes": (0.3, 0.3, 0.3),
    "probes that improve with depth": (0.6, 0.3, 0.1),
    "a first probe of noise only": (3.0, 0.3, 0.3),
}


def weight_study(seed: int = 1000) -> Iterator[WeightRow]:
    """Yield the gain of learned weights on each kind of synthetic probes."""
    for name, sigma in PROBES.items():
        noise = np.array(sigma)
        train = tokens(CALIBRATION_TOKENS, noise, seed)
        yield weight_gain(name, train, tokens(4 * TEST_TOKENS, noise, seed + 1), WEIGHTS)


def recorded_gain(file: Path) -> WeightRow:
    """Return the gain on recorded probes: an npz with risk [layers, n] and exit_right [layers, n].

    Every second token is held out. ValueError or KeyError if the file is not such a one.
    """
    with np.load(file) as data:
        risk, right = data["risk"], data["exit_right"]
    layers = len(risk)
    weights = WEIGHTS if layers == len(WEIGHTS) else [1 / layers] * layers
    train, held_out = (np.ascontiguousarray(risk[:, k::2]) for k in (0, 1))
    return weight_gain(file.name, (train, right[:, ::2]), (held_out, right[:, 1::2]), weights)


def weight_gain(
    data: str,
    train: tuple[Floats, Flags],
    held_out: tuple[Floats, Flags],
    weights: Sequence[float],
) -> WeightRow:
    """Fit weights and decay on `train` and compare them with the given ones on `held_out`.

    Each is (risk [layers, n], whether exiting there is right [layers, n]).
    """
    thresholds = quantile_thresholds(train[0], [0.95] * len(weights))
    rates = 0.8 * _even_shares(len(weights))
    columns = zip(rates, thresholds, weights, strict=True)
    start = [LayerConfig(i, *row) for i, row in enumerate(columns)]
    fit = fit_weights(*train, start, 0.9, fit_decay=True)
    default = _sweep(train[0], held_out, thresholds, weights, 0.9)
    learned = _sweep(train[0], held_out, thresholds, fit.weights, fit.confidence_decay)
    wrong = float(np.interp(0.8, *default.T))
    return WeightRow(
        data=data,
        weights=list(fit.weights),
        confidence_decay=fit.confidence_decay,
        wrong_default=wrong,
        wrong_learned=float(np.interp(0.8, *learned.T)),
        exits_default=0.8,
        exits_learned=float(np.interp(wrong, learned[:, 1], learned[:, 0])),
    )


def _even_shares(layers: int) -> NDArray[np.float64]:
    return np.arange(1, layers + 1) / layers


def _sweep(
    calibration: Floats,
    held_out: tuple[Floats, Flags],
    thresholds: Sequence[float],
    weights: Sequence[float],
    decay: float,
) -> NDArray[np.float64]:
    """Return (exit rate, wrong exits per token) for exit rates from 0.3 to 1, in rising order."""
    shares = _even_shares(len(weights))
    curve = []
    for rate in np.linspace(0.3, 1.0, 36):
        rule = accumulated_rule(calibration, list(rate * shares), thresholds, weights, decay)
        exits, wrong = exits_and_wrong(rule, *held_out)
        curve.append((exits, exits * wrong))
    # More exits are more wrong ones; sampling noise must not say otherwise.
    return np.maximum.accumulate(np.array(curve))


def verdict(rows: list[NoiseRow]) -> dict[str, dict[str, list[str]]]:
    """Sort every (sigma, exit rate) of each accumulated rule into fewer, same or more wrong exits.

    Same: the interval of the difference holds 0. Unmatched: ties kept the exit rates apart, so
    that nothing is said.
    """
    kinds = "fewer", "same", "more", "unmatched"
    result: dict[str, dict[str, list[str]]] = {
        name: {kind: [] for kind in kinds} for name in SCALES
    }
    single = {(r.sigma, r.asked_exit_rate): r.exit_rate.mean for r in rows if r.rule == SINGLE}
    for row in rows:
        if row.rule != SINGLE:
            baseline = single[row.sigma, row.asked_exit_rate]
            place = f"sigma {row.sigma}, exit rate {row.asked_exit_rate}"
            result[row.rule][_kind(row, baseline)].append(place)
    return result


def _kind(row: NoiseRow, baseline: float) -> str:
    if abs(row.exit_rate.mean - baseline) > LARGEST_MISMATCH:
        return "unmatched"
    return "fewer" if row.saved.low > 0 else "more" if row.saved.high < 0 else "same"


def to_json(rows: list[NoiseRow], weights: list[WeightRow]) -> dict[str, Any]:
    """Return the study for a file."""
    return {
        "study": "sedac",
        "setting": {
            "allowed_difficulty": ALLOWED.tolist(),
            "weights": WEIGHTS,
            "replicates": REPLICATES,
            "calibration_tokens": CALIBRATION_TOKENS,
            "test_tokens": TEST_TOKENS,
            "interval": "95 %, Student's t over replicates",
        },
        "verdict": verdict(rows),
        "noise": [asdict(row) for row in rows],
        "learned_weights": [asdict(row) for row in weights],
    }


COLOURS = ("#555555", "#0072b2", "#d55e00", "#009e73")


def write_report(file: Path, content: dict[str, Any]) -> None:
    """Write plots and numbers of `to_json`'s content as one HTML file that needs no network.

    ImportError where plotly is missing, OSError if the file can't be written.
    """
    figures = [_noise_figure(content["noise"], rate) for rate in EXIT_RATES]
    parts = [_REPORT_HEAD, *html_figures(figures)]
    parts.append("<h2>Learned weights, held-out tokens</h2>")
    parts.append(_table(content["learned_weights"]))
    parts.append("<h2>All numbers</h2>" + _table([_flat(row) for row in content["noise"]]))
    file.write_text("\n".join([*parts, "</body></html>"]), encoding="utf-8")


_REPORT_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>SEDAC: wrong exits under noise</title>
<style>body{font-family:sans-serif;max-width:1100px;margin:2em auto}
td,th{padding:.15em .8em;text-align:right}td:first-child{text-align:left}</style></head><body>
<h1>SEDAC: wrong exits under noise</h1>
<p>Share of wrong ones among the exits, at equal exit rates up to each checkpoint, over the noise of
the probes. Bars: 95 % intervals over replicates.</p>"""


def _noise_figure(rows: list[dict[str, Any]], rate: float) -> Any:
    """Return wrong exits over sigma, and beside it the difference to the single-layer rule."""
    from plotly.graph_objects import Scatter  # noqa: PLC0415 - only the report needs plotly
    from plotly.subplots import make_subplots  # noqa: PLC0415

    titles = "wrong share of exits", "wrong share saved against the single layer"
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles)
    for rule, colour in zip((SINGLE, *SCALES), COLOURS, strict=True):
        chosen = [r for r in rows if r["rule"] == rule and r["asked_exit_rate"] == rate]
        for column, key in enumerate(("wrong", "saved"), 1):
            bars = [row[key]["high"] - row[key]["mean"] for row in chosen]
            trace = Scatter(
                x=[row["sigma"] for row in chosen],
                y=[row[key]["mean"] for row in chosen],
                error_y={"array": bars},
                name=rule,
                line={"color": colour},
                legendgroup=rule,
                showlegend=column == 1,
            )
            figure.add_trace(trace, row=1, col=column)
    figure.update_xaxes(title_text="sigma")
    figure.update_layout(
        title=f"exit rate {rate}", height=460, legend={"orientation": "h", "y": -0.25}
    )
    return figure


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its intervals as text."""
    return {
        key: f"{value['mean']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"
        if isinstance(value, dict)
        else value
        for key, value in row.items()
    }


def _table(rows: list[dict[str, Any]]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, list):
            return ", ".join(cell(item) for item in value)
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    head = (name.replace("_", " ") for name in rows[0])
    return html_table(head, (map(cell, row.values()) for row in rows))
