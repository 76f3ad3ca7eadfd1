"""How well scores tell failures, before they begin: one set of figures for model and baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salus_ros.bench.supervisor_statistics import rate_interval
from salus_ros.interfaces import FloatArray
from salus_ros.prediction.alarm import Band, first_alarm
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.labels import step_labels
from salus_ros.prediction.layout import HORIZONS
from salus_ros.prediction.metrics import (
    NOT_DEFINED,
    REPLICATES,
    Estimate,
    Ranking,
    episode_draws,
    interval,
)
from salus_ros.prediction.model import SMOOTHING, smoothed

# Fewer of either don't make a figure for one disturbance.
FEWEST_WITHIN = 3
# Failures later than this many successes last are compared where so many still run.
FEWEST_MATCHED = 10


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """An episode with scores at its n steps before the onset.

    step [n, horizons]: that a failure is near. running [n]: that this episode fails, smoothed.
    """

    episode: RecordedEpisode
    step: FloatArray
    running: FloatArray

    @property
    def failed(self) -> bool:
        """As the episode's."""
        return self.episode.failed

    @property
    def highest(self) -> float:
        """The episode's score."""
        return float(self.running.max())


def scored(
    episodes: Sequence[RecordedEpisode], scorer: Callable[[RecordedEpisode], FloatArray]
) -> list[Scored]:
    """Of a baseline: one score [T] a step serves all horizons, smoothed like the model's."""
    found = []
    for episode in episodes:
        raw = scorer(episode)[: episode.steps_before_onset]
        step = np.repeat(raw[:, None], len(HORIZONS), axis=1)
        found.append(Scored(episode, step, smoothed(raw, SMOOTHING)))
    return found


def episode_ranking(group: Sequence[Scored]) -> Ranking:
    """Of the episodes' highest scores; positive: those that fail."""
    highest = np.array([s.highest for s in group])
    return Ranking(highest, np.array([s.failed for s in group], np.bool_))


def horizon_ranking(group: Sequence[Scored], horizon: int) -> Ranking:
    """Of steps; positive: any failure begins within that horizon."""
    labels = np.concatenate([step_labels(s.episode)[:, horizon].any(axis=1) for s in group])
    scores = np.concatenate([s.step[:, horizon] for s in group])
    return Ranking(scores, labels, np.repeat(np.arange(len(group)), [len(s.step) for s in group]))


def matched_auc(group: Sequence[Scored], seed: int = 0) -> Estimate:
    """Failures against successes that had run as long, both by their highest score so far.

    Each failure is looked at when it begins, or at the last time at which FEWEST_MATCHED successes
    still ran, so that the clock tells nothing.
    """
    failures = [s for s in group if s.failed]
    successes = [s for s in group if not s.failed]
    if not failures or not successes:
        return NOT_DEFINED
    won, paired = _matched_wins(failures, successes)

    def area(a: FloatArray, b: FloatArray) -> float:
        pairs = paired @ b
        shares = np.divide(won @ b, pairs, out=np.zeros_like(pairs), where=pairs > 0)
        weight = a * (pairs > 0)
        return float((weight * shares).sum() / max(weight.sum(), 1e-12))

    a = episode_draws(len(failures), seed)
    b = episode_draws(len(successes), seed + 1)
    low, high = interval([area(x, y) for x, y in zip(a, b, strict=True)])
    return Estimate(area(np.ones(len(failures)), np.ones(len(successes))), low, high)


def _matched_wins(
    failures: Sequence[Scored], successes: Sequence[Scored]
) -> tuple[FloatArray, FloatArray]:
    """[failures, successes]: won (ties half) and compared (0 or 1)."""
    so_far = [np.maximum.accumulate(s.running) for s in successes]
    lengths = np.array([len(s) for s in so_far])
    latest = int(np.sort(lengths)[::-1][min(FEWEST_MATCHED, len(lengths)) - 1])
    won = np.zeros((len(failures), len(successes)))
    paired = np.zeros_like(won)
    for i, failure in enumerate(failures):
        step = min(len(failure.running), latest) - 1
        mine = failure.running[: step + 1].max()
        for j in np.flatnonzero(lengths > step):
            other = so_far[j][step]
            won[i, j] = float(mine > other) + 0.5 * float(mine == other)
            paired[i, j] = 1.0
    return won, paired


def within_disturbances(group: Sequence[Scored], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Episode ROC-AUC, plain and matched in time, among episodes of one disturbance each."""
    found = {}
    for name in sorted({s.episode.disturbance for s in group}):
        own = [s for s in group if s.episode.disturbance == name]
        failures = sum(s.failed for s in own)
        enough = min(failures, len(own) - failures) >= FEWEST_WITHIN
        found[name or "none"] = {
            "episodes": len(own),
            "failures": failures,
            "auc": (episode_ranking(own).auc_estimate(seed) if enough else NOT_DEFINED).to_json(),
            "matched_auc": (matched_auc(own, seed) if enough else NOT_DEFINED).to_json(),
        }
    return found


def alarm_quality(group: Sequence[Scored], band: Band, seed: int = 0) -> dict[str, Any]:
    """What the alarm does: recall, false alarms, precision, F1, lead time over all failures.

    Lead times [s] end at the onset; a failure without an alarm before it counts 0.
    """
    first = [first_alarm(band, s.running) for s in group]
    found = detection_quality(group, first, seed)
    false, successes = found.pop("false_alarms"), found["successes"]
    found["coverage"] = {
        "alpha": band.alpha,
        "false_alarms": false,
        "of": successes,
        "p_value": binomial_tail(false, successes, band.alpha),
    }
    return found


def detection_quality(
    group: Sequence[Scored], first: Sequence[int], seed: int = 0
) -> dict[str, Any]:
    """The same of anything that speaks up: at which step of each episode it first does; -1: never.

    false_alarms: how many successes it spoke up in.
    """
    failed = np.array([s.failed for s in group], np.bool_)
    raised = np.array([f >= 0 for f in first], np.bool_)
    caught, false = int((raised & failed).sum()), int((raised & ~failed).sum())
    failures, successes = int(failed.sum()), int((~failed).sum())
    leads = np.array([_lead(s, f) for s, f in zip(group, first, strict=True) if s.failed])
    return {
        "failures": failures,
        "successes": successes,
        "recall": _rate(caught, failures),
        "false_alarm_rate": _rate(false, successes),
        "precision": _rate(caught, caught + false),
        "f1": 2 * caught / max(caught + false + failures, 1),
        "lead_time_p50": _median(leads, seed).to_json(),
        "lead_time_caught_p50": _median(leads[leads > 0], seed).to_json(),
        "time_weighted_accuracy": _time_weighted(group, first),
        "false_alarms": false,
    }


def _lead(one: Scored, first: int) -> float:
    return 0.0 if first < 0 else float(one.episode.onset - one.episode.times[first])


def _rate(hits: int, count: int) -> dict[str, Any]:
    low, high = rate_interval(hits, count)
    return {"value": hits / count if count else None, "low": low, "high": high, "of": count}


def _median(values: FloatArray, seed: int) -> Estimate:
    if not len(values):
        return NOT_DEFINED

    rng = np.random.default_rng(seed)
    drawn = np.median(rng.choice(values, (REPLICATES, len(values))), axis=1)
    return Estimate(float(np.median(values)), *interval(drawn))


def _time_weighted(group: Sequence[Scored], first: Sequence[int]) -> float | None:
    """Mean of two shares of time: without alarm in successes, from the alarm on in failures."""
    quiet, warned = [], []
    for one, step in zip(group, first, strict=True):
        share = 1.0 if step < 0 else step / len(one.running)
        if one.failed:
            warned.append(1 - share)
        else:
            quiet.append(share)
    return float((np.mean(quiet) + np.mean(warned)) / 2) if quiet and warned else None


def binomial_tail(hits: int, count: int, share: float) -> float:
    """Probability of `hits` or more of `count` where each has this share."""
    probability, total = (1 - share) ** count, 0.0
    for k in range(count + 1):
        total += probability if k >= hits else 0.0
        probability *= (count - k) / (k + 1) * share / (1 - share)
    return min(1.0, total)


def calibration_curve(
    probabilities: FloatArray, labels: FloatArray, bins: int = 10
) -> dict[str, Any]:
    """Predicted against observed share in bins of equal count, and the mean gap (ECE)."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    predicted = [float(probabilities[part].mean()) for part in parts]
    observed = [float(labels[part].mean()) for part in parts]
    gaps = np.abs(np.array(predicted) - np.array(observed))
    weights = np.array([len(part) for part in parts]) / max(len(order), 1)
    return {"predicted": predicted, "observed": observed, "error": float((gaps * weights).sum())}
