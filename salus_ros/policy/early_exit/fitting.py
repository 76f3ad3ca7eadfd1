"""From recorded observations to early exit for a flow policy: narrow MLPs, probes, settings.

Episodes are split: `fit` for channel statistics and probes, `order` for the choice and order of
settings, `certify` for the certificate alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salus_ros.interfaces import FloatArray
from salus_ros.policy.early_exit import ladder
from salus_ros.policy.early_exit.buckets import NARROW, rounded_down
from salus_ros.policy.early_exit.cascade import ExitRule
from salus_ros.policy.early_exit.certificate import (
    ALPHA,
    DELTA,
    EPSILON,
    episode_errors,
    fixed_sequence,
)
from salus_ros.policy.early_exit.files import EarlyExitParts
from salus_ros.policy.early_exit.flow_model import BATCH, FlowRunner, install, make_narrow
from salus_ros.policy.early_exit.narrowing import Method
from salus_ros.policy.early_exit.observations import Recorded
from salus_ros.policy.early_exit.settings import EarlyExitError, ExitSetting, fixed
from salus_ros.policy.probe import LREProbe, ProbeTraining, action_error_target, train_probe

CERTIFIED = "certified"
"""The name of the setting to use."""
TESTED = 0.75
"""The share that the layers after a checkpoint skip while its probe's targets are measured."""
STATISTICS = 512
"""Observations that the channels are measured on."""
LADDER = 8
HARD_EXIT_RATES = (0.1, 0.2, 0.4, 0.7)
SEARCHED_RATES = tuple(np.linspace(0.02, 0.99, 98).tolist())
FIT_SHARE, ORDER_SHARE = 0.5, 0.15
PROBE_EPOCHS = 60
PROBE_RANK = 64

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Recorded observations of three disjoint sets of episodes."""

    fit: Recorded
    order: Recorded
    certify: Recorded


@dataclass(frozen=True, slots=True, eq=False)
class ProbeRecord:
    """risk [layers, n] and whether exiting there at the tested share keeps the error small."""

    risk: NDArray[np.float32]
    exit_right: NDArray[np.bool_]


def split(recorded: Recorded, seed: int) -> Splits:
    """By episode. Raises ValueError for fewer than 20 episodes."""
    numbers = np.unique(recorded.episodes)
    if len(numbers) < 20:
        raise ValueError(
            f"{len(numbers)} episodes are too few to fit and certify: record 20 or more"
        )
    shuffled = np.random.default_rng([seed, 2]).permutation(numbers)
    first = round(FIT_SHARE * len(numbers))
    second = first + round(ORDER_SHARE * len(numbers))
    parts = (shuffled[:first], shuffled[first:second], shuffled[second:])
    return Splits(*(recorded.of(part) for part in parts))


def relative_errors(reduced: Tensor, full: Tensor) -> FloatArray:
    """|reduced - full| / |full| of normalised chunks [n, rows, dims], as [n]."""
    errors: FloatArray = action_error_target(reduced, full).double().expm1().cpu().numpy()
    return errors


def default_checkpoints(layers: int) -> tuple[int, ...]:
    """The last three prefix layers but for the first, or what there is."""
    return tuple(range(max(0, layers - 3), layers))


def fit_early_exit(
    runner: FlowRunner, splits: Splits, method: Method, seed: int, say: Say = lambda _: None
) -> tuple[EarlyExitParts, ProbeRecord]:
    """Everything, the certified setting included where one passes."""
    say("channels")
    narrow = make_narrow(
        runner.network, method, lambda: runner.full(splits.fit.tokens[:STATISTICS])
    )
    install(runner.network, narrow)
    checkpoints = default_checkpoints(runner.config.layers)
    probes, fits = _probes(runner, splits.fit.tokens, checkpoints, seed, say)
    say("order of settings")
    full = runner.full(splits.order.tokens)
    risk = risks(runner, probes, splits.order.tokens)
    steps = _ladder(runner, splits.order, full, risk, checkpoints[0])
    record = _record(runner, splits.order.tokens, full, risk, checkpoints)
    say("certificate")
    settings, tests = _certified(runner, splits.certify, probes, steps)
    if CERTIFIED in settings:
        saving = tests[-1 if tests[-1]["passes"] else -2]["saving"]
        settings |= _opponents(runner, risk, checkpoints, saving)
    settings |= {f"fixed-{s:g}": fixed(s, len(checkpoints)) for s in NARROW}
    fitted = {
        "probe_fits": fits,
        "tests": tests,
        "alpha": ALPHA,
        "epsilon": EPSILON,
        "delta": DELTA,
        "tested_share": TESTED,
        "episodes": {
            name: len(np.unique(getattr(splits, name).episodes))
            for name in ("fit", "order", "certify")
        },
        "seed": seed,
    }
    return EarlyExitParts(probes, narrow, method, settings, fitted), record


def _probes(
    runner: FlowRunner, tokens: Tensor, checkpoints: tuple[int, ...], seed: int, say: Say
) -> tuple[dict[int, LREProbe], list[dict[str, Any]]]:
    full = runner.full(tokens)
    parts = [runner.hidden(part, checkpoints) for part in tokens.split(BATCH)]
    probes, fits = {}, []
    for layer in checkpoints:
        say(f"probe after layer {layer}")
        target = action_error_target(runner.from_layer(tokens, layer, TESTED), full)
        hidden = torch.cat([part[layer] for part in parts])
        torch.manual_seed(seed + layer)
        probe = LREProbe(runner.config.width, min(PROBE_RANK, runner.config.width))
        # Targets lie near 0.05: softplus starts there, not at 0.7.
        torch.nn.init.constant_(probe.up.bias, float(target.mean().expm1().clamp_min(1e-4).log()))
        training = ProbeTraining(epochs=PROBE_EPOCHS, huber_beta=0.5, seed=seed)
        fit = train_probe(probe, hidden, target, training)
        probes[layer] = probe
        fits.append(
            {"layer": layer, **asdict(fit), "rank_correlation": _ranks(probe, hidden, target)}
        )
    return probes, fits


@torch.no_grad()  # type: ignore[untyped-decorator]
def _ranks(probe: LREProbe, hidden: Tensor, target: Tensor) -> float:
    """Spearman's, of risk and target."""
    both = torch.stack([probe.sequence_risk(hidden), target]).argsort(1).argsort(1).double()
    return float(torch.corrcoef(both)[0, 1])


@torch.no_grad()  # type: ignore[untyped-decorator]
def risks(runner: FlowRunner, probes: dict[int, LREProbe], tokens: Tensor) -> NDArray[np.float32]:
    """Of each checkpoint in the full model [layers, n]."""
    layers = tuple(sorted(probes))
    parts = []
    for part in tokens.split(BATCH):
        hidden = runner.hidden(part, layers)
        parts.append(torch.stack([probes[i].sequence_risk(hidden[i]) for i in layers]))
    found: NDArray[np.float32] = torch.cat(parts, 1).numpy()
    return np.ascontiguousarray(found)


def _ladder(
    runner: FlowRunner, data: Recorded, full: Tensor, risk: NDArray[np.float32], first: int
) -> list[ExitSetting]:
    """Settings in the order that they are tested: by what they are expected to skip.

    Expected from chunks that skip one share from the first checkpoint on, so that no setting needs
    a run of its own.
    """
    table: dict[float, FloatArray] = {0.0: np.zeros(len(data))}
    for share in NARROW:
        table[share] = relative_errors(runner.from_layer(data.tokens, first, share), full)
    found = ladder.candidates(risk)
    savings, errors = [], []
    for setting in found:
        shares = final_shares(setting, risk)
        error = np.choose(np.searchsorted(list(table), shares), list(table.values()))
        savings.append(shares.mean())
        errors.append(np.quantile(episode_errors(error, data.episodes), 1 - ALPHA))
    chosen = ladder.best_by_saving(np.array(savings), np.array(errors), LADDER)
    return [found[i] for i in chosen]


def final_shares(setting: ExitSetting, risk: NDArray[np.float32]) -> FloatArray:
    """What each chunk would skip in the end, by the risks of the full model [layers, n]."""
    layers = tuple(range(len(risk)))
    decided = setting.controller(layers, len(layers)).evaluate(risk)
    return rounded_down(decided.soft_exit_ratio)


def _record(
    runner: FlowRunner,
    tokens: Tensor,
    full: Tensor,
    risk: NDArray[np.float32],
    checkpoints: tuple[int, ...],
) -> ProbeRecord:
    right = [
        relative_errors(runner.from_layer(tokens, layer, TESTED), full) <= EPSILON
        for layer in checkpoints
    ]
    return ProbeRecord(risk, np.array(right))


def _certified(
    runner: FlowRunner, data: Recorded, probes: dict[int, LREProbe], steps: list[ExitSetting]
) -> tuple[dict[str, ExitSetting], list[dict[str, Any]]]:
    full = runner.full(data.tokens)
    rules = {
        f"soft-{i + 1}": ExitRule(probes, s, runner.config.layers) for i, s in enumerate(steps)
    }
    measured: dict[str, dict[str, Any]] = {}

    def errors_of(name: str) -> FloatArray:
        result = runner.with_rule(data.tokens, rules[name])
        errors = relative_errors(result.chunks, full)
        measured[name] = {
            "saving": 1 - float(result.flops.mean()) / runner.full_flops,
            "mean_error": float(errors.mean()),
        }
        return episode_errors(errors, data.episodes)

    settings, tests = {}, []
    for name, found in fixed_sequence((name, errors_of(name)) for name in rules):
        tests.append({"setting": name, **measured[name], **asdict(found)})
        settings[name] = rules[name].setting
        if found.passes:
            settings[CERTIFIED] = rules[name].setting
    return settings, tests


def _opponents(
    runner: FlowRunner, risk: NDArray[np.float32], checkpoints: tuple[int, ...], saving: float
) -> dict[str, ExitSetting]:
    """Hard exits: over a range of exit rates, and those that save about as much as certified."""

    def hard(rate: float) -> ExitSetting:
        return ladder.accumulating(risk, "hard", 1.0, rate)

    def single_layer(rate: float) -> ExitSetting:
        return ladder.single_layer(risk, rate)

    found: dict[str, ExitSetting] = {}
    for name, make in (("hard", hard), ("single_layer", single_layer)):
        for rate in HARD_EXIT_RATES:
            found |= {f"{name}-{rate:g}": s for s in ladder.possible([make(rate)])}
        searched = ladder.possible([make(rate) for rate in SEARCHED_RATES])
        savings = [_hard_saving(runner, setting, risk, checkpoints) for setting in searched]
        found[name] = searched[int(np.argmin(np.abs(np.array(savings) - saving)))]
    return found


def _hard_saving(
    runner: FlowRunner,
    setting: ExitSetting,
    risk: NDArray[np.float32],
    checkpoints: tuple[int, ...],
) -> float:
    layers = setting.controller(checkpoints, runner.config.layers).evaluate(risk).exit_layer
    return float(np.mean([runner.saving_after(int(i), 1.0) if i >= 0 else 0.0 for i in layers]))


def require_certified(parts: EarlyExitParts) -> None:
    """Raises EarlyExitError where no setting passed."""
    if CERTIFIED not in parts.settings:
        raise EarlyExitError(
            f"no setting keeps the relative action error at or below {EPSILON} in "
            f"{1 - ALPHA:.0%} of episodes: record more episodes, or train the policy longer"
        )
