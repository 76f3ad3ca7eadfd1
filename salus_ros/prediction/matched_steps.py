"""How well steps are told apart among steps of matched elapsed time: what the clock can't earn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.prediction.labels import step_labels
from salus_ros.prediction.metrics import NOT_DEFINED, Estimate, episode_draws, interval
from salus_ros.prediction.quality import Scored


def matched_horizon_auc(group: Sequence[Scored], horizon: int, seed: int = 0) -> Estimate:
    """Steps with a failure near against steps without one at the same place in other episodes.

    So the clock tells nothing of when. Not defined where no two such steps meet.
    """
    won, paired = _matched_steps(group, horizon)
    if not paired.any():
        return NOT_DEFINED
    draws = episode_draws(len(group), seed)
    pairs = np.einsum("ri,ij,rj->r", draws, paired, draws, optimize=True)
    wins = np.einsum("ri,ij,rj->r", draws, won, draws, optimize=True)
    value = float(won.sum() / paired.sum())
    return Estimate(value, *interval(wins[pairs > 0] / pairs[pairs > 0]))


def _matched_steps(group: Sequence[Scored], horizon: int) -> tuple[FloatArray, FloatArray]:
    """[episodes, episodes]: of its positive steps against the other's negative ones, won and all.

    Ties count half.
    """
    lengths = np.array([len(s.step) for s in group])
    labels = [step_labels(s.episode)[:, horizon].any(axis=1) for s in group]
    won = np.zeros((len(group), len(group)))
    paired = np.zeros_like(won)
    for i, one in enumerate(group):
        for t in np.flatnonzero(labels[i]):
            others = [j for j in np.flatnonzero(lengths > t) if not labels[j][t]]
            theirs = np.array([group[j].step[t, horizon] for j in others])
            mine = one.step[t, horizon]
            won[i, others] += (mine > theirs) + 0.5 * (mine == theirs)
            paired[i, others] += 1.0
    return won, paired
