"""The evaluation of a failure model beside its baselines, on the same splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.prediction import quality
from salus_ros.prediction.alarm import Band, fit_band
from salus_ros.prediction.baselines import (
    Fit,
    NotAvailableError,
    elapsed_time,
    plan_disagreement,
    sample_variance,
    single_signal,
)
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.features import GROUPS
from salus_ros.prediction.fitting import fit_network
from salus_ros.prediction.labels import step_labels
from salus_ros.prediction.layout import HORIZONS
from salus_ros.prediction.matched_steps import matched_horizon_auc
from salus_ros.prediction.metrics import NOT_DEFINED, Estimate, auc, episode_draws, interval
from salus_ros.prediction.model import SMOOTHING, FailureModel, raw_outputs, score_episode, smoothed
from salus_ros.prediction.quality import Scored
from salus_ros.prediction.splits import Splits, first_by_hash
from salus_ros.prediction.training import TrainingConfig
from salus_ros.signals.layout import ENTROPY, SIGNAL_NAMES

FEW_EPISODES = 80
FEW_REPEATS = 3
FEW_VALIDATION = 5
Advance = Callable[[str], None]


def baselines() -> dict[str, Fit]:
    """All of them by name."""
    # Imported late: these need torch, the rest of this file doesn't.
    from salus_ros.prediction import latent_baselines as latent  # noqa: PLC0415
    from salus_ros.prediction import learned_baselines as learned  # noqa: PLC0415

    return {
        **{f"signal {name}": single_signal(i) for i, name in enumerate(SIGNAL_NAMES)},
        "entropy threshold": single_signal(ENTROPY),
        "elapsed time": elapsed_time,
        "action variance over samples": sample_variance,
        "STAC, one sample": plan_disagreement,
        "Mahalanobis on latents": latent.density(latent.mahalanobis),
        "k-NN on latents": latent.density(latent.nearest_neighbours),
        "RND on latents": latent.density(latent.random_network_distillation),
        "logpZO on latents": latent.density(latent.flow_to_noise),
        "MLP 12-128-256-128-16": learned.signal_mlp,
        "MLP on latents (SAFE)": learned.latent_mlp,
        "LSTM on latents (SAFE)": learned.latent_lstm,
    }


def model_scores(model: FailureModel, episodes: Sequence[RecordedEpisode]) -> list[Scored]:
    """The model's: any type within each horizon, and the alarm's score."""
    found = []
    for episode in episodes:
        scores, count = score_episode(model, episode), episode.steps_before_onset
        near = 1.0 - np.prod(1.0 - scores.probabilities[:count], axis=-1)
        found.append(Scored(episode, near, scores.score[:count]))
    return found


def evaluate(
    model: FailureModel, splits: Splits, seed: int = 0, advance: Advance = lambda _: None
) -> dict[str, Any]:
    """Everything about the model and the baselines that does not need another training of it."""
    own = {name: model_scores(model, group) for name, group in _tests(splits).items()}
    advance("model")
    content: dict[str, Any] = {
        "episodes": counts(splits),
        "model": _method(own, model.band, seed),
        "calibration": _calibration(model, splits.test),
        "baselines": {},
    }
    for name, fit in baselines().items():
        content["baselines"][name] = _baseline(fit, splits, own, model.band.alpha, seed)
        advance(name)
    return content


def counts(splits: Splits) -> dict[str, Any]:
    """Episodes of each split by outcome, and what was left out by reason."""
    content: dict[str, Any] = {}
    for name, group in splits.by_name().items():
        content[name] = {
            "episodes": len(group),
            "failures": dict(Counter(e.failure_type for e in group if e.failed)),
            "disturbances": dict(Counter(e.disturbance or "none" for e in group)),
        }
    content["left_out"] = dict(Counter(reason for _, reason in splits.left_out))
    return content


def _tests(splits: Splits) -> dict[str, tuple[RecordedEpisode, ...]]:
    return {"seen": splits.test, "unseen": splits.unseen}


def _method(groups: Mapping[str, list[Scored]], band: Band, seed: int) -> dict[str, Any]:
    return {name: _figures(group, band, seed) for name, group in groups.items() if group}


def _figures(group: list[Scored], band: Band, seed: int) -> dict[str, Any]:
    episodes = quality.episode_ranking(group)
    steps = {f"{h:g}": quality.horizon_ranking(group, i) for i, h in enumerate(HORIZONS)}
    return {
        "episode_auc": episodes.auc_estimate(seed).to_json(),
        "matched_auc": quality.matched_auc(group, seed).to_json(),
        "average_precision": episodes.average_precision_estimate(seed).to_json(),
        "horizon_auc": {h: r.auc_estimate(seed).to_json() for h, r in steps.items()},
        "horizon_matched_auc": {
            f"{h:g}": matched_horizon_auc(group, i, seed).to_json() for i, h in enumerate(HORIZONS)
        },
        "horizon_average_precision": {
            h: r.average_precision_estimate(seed).to_json() for h, r in steps.items()
        },
        "horizon_auc_by_type": _by_type(group, seed),
        "within_disturbances": quality.within_disturbances(group, seed),
        "alarm": quality.alarm_quality(group, band, seed),
    }


def _by_type(group: list[Scored], seed: int) -> dict[str, dict[str, Any]]:
    """Horizon ROC-AUC among successes and the failures of one type each.

    A timeout begins when the clock says so, the other types with what happens.
    """
    found = {}
    for kind in sorted({s.episode.failure_type for s in group if s.failed}):
        own = [s for s in group if s.episode.failure_type in ("", kind)]
        ranked = {f"{h:g}": quality.horizon_ranking(own, i) for i, h in enumerate(HORIZONS)}
        areas = {h: ranking.auc_estimate(seed).to_json() for h, ranking in ranked.items()}
        found[kind] = {"failures": sum(s.failed for s in own), **areas}
    return found


def _baseline(
    fit: Fit, splits: Splits, own: Mapping[str, list[Scored]], alpha: float, seed: int
) -> dict[str, Any]:
    try:
        scorer = fit(splits.train, seed)
    except NotAvailableError as error:
        return {"not_available": str(error)}
    groups = {name: quality.scored(group, scorer) for name, group in _tests(splits).items()}
    shape = _successes(quality.scored((*splits.validation, *splits.calibration), scorer))
    height = _successes(quality.scored(splits.conformal, scorer))
    content = _method(groups, fit_band(shape, height, alpha, fewest=1), seed)
    for name, figures in content.items():
        figures["model_better_by"] = _difference(own[name], groups[name], seed)
    return content


def _successes(group: Sequence[Scored]) -> list[FloatArray]:
    return [s.running for s in group if not s.failed]


def _difference(own: list[Scored], other: list[Scored], seed: int) -> dict[str, Any]:
    """By how much the model's episode ROC-AUC is above, episodes drawn for both alike."""
    ours, theirs = quality.episode_ranking(own), quality.episode_ranking(other)
    value = ours.auc() - theirs.auc()
    if not np.isfinite(value):
        return NOT_DEFINED.to_json()
    draws = episode_draws(ours.episodes, seed)
    found = ours.aucs(draws) - theirs.aucs(draws)
    return Estimate(value, *interval(found[np.isfinite(found)])).to_json()


def _calibration(model: FailureModel, episodes: Sequence[RecordedEpisode]) -> dict[str, Any]:
    """Curves of the horizons, any type, and of the episode's probability."""
    scores = [score_episode(model, e) for e in episodes]
    lengths = [e.steps_before_onset for e in episodes]
    tables = [s.probabilities[:n] for s, n in zip(scores, lengths, strict=True)]
    near = np.concatenate([1.0 - np.prod(1.0 - t, axis=-1) for t in tables])
    labels = np.concatenate([step_labels(e).any(axis=-1) for e in episodes]).astype(np.float64)
    curves = {
        f"{h:g}": quality.calibration_curve(near[:, i], labels[:, i])
        for i, h in enumerate(HORIZONS)
    }
    failing = np.concatenate([s.episode[:n] for s, n in zip(scores, lengths, strict=True)])
    failed = np.repeat([float(e.failed) for e in episodes], lengths)
    return {**curves, "episode": quality.calibration_curve(failing, failed)}


# --- studies that train again ---


def trained_quality(splits: Splits, config: TrainingConfig) -> dict[str, float | None]:
    """Episode ROC-AUC on both tests of a network trained for this alone."""
    network, norm, decision = fit_network(splits, config)
    found: dict[str, float | None] = {"members": float(decision.members)}
    for name, group in _tests(splits).items():
        outputs = [raw_outputs(network, norm, e)[0].episode[: e.steps_before_onset] for e in group]
        highest = [smoothed(o.astype(np.float64), SMOOTHING).max() for o in outputs]
        area = auc(np.array(highest), np.array([e.failed for e in group], np.bool_))
        found[name] = area if np.isfinite(area) else None
    return found


def few_episodes(
    splits: Splits,
    config: TrainingConfig,
    count: int = FEW_EPISODES,
    advance: Advance = lambda _: None,
) -> list[dict[str, float | None]]:
    """Trained on `count` episodes, a fifth of them to choose the epoch by, over some seeds."""
    chosen = first_by_hash(splits.train, count)
    held = len(chosen) // FEW_VALIDATION
    few = replace(splits, train=tuple(chosen[held:]), validation=tuple(chosen[:held]))
    found = []
    for repeat in range(FEW_REPEATS):
        found.append(trained_quality(few, replace(config, seed=config.seed + 100 + repeat)))
        advance(f"{count} episodes, {repeat + 1} of {FEW_REPEATS}")
    return found


def ablation(
    splits: Splits, config: TrainingConfig, advance: Advance = lambda _: None
) -> dict[str, dict[str, float | None]]:
    """Trained with all signals, without each group of them, and with each alone."""
    found = {"all": trained_quality(splits, config)}
    advance("ablation: all")
    for name, signals in GROUPS.items():
        rest = [s for group in GROUPS.values() for s in group if s not in signals]
        for title, removed in ((f"without {name}", list(signals)), (f"only {name}", rest)):
            without = _all_without(splits, removed)
            found[title] = trained_quality(without, config)
            advance(f"ablation: {title}")
    return found


def _all_without(splits: Splits, signals: Sequence[int]) -> Splits:
    groups = {
        name: tuple(_without(e, signals) for e in group) for name, group in splits.by_name().items()
    }
    return Splits(**groups, left_out=splits.left_out)


def _without(episode: RecordedEpisode, signals: Sequence[int]) -> RecordedEpisode:
    """The episode with some signals unknown."""
    bits = sum(1 << signal for signal in signals)
    return replace(episode, valid=(episode.valid & ~np.uint16(bits)).astype(np.uint16))
