"""Made-up episodes whose failures announce themselves in one signal, for tests."""

from __future__ import annotations

import numpy as np

from salus_ros.prediction.episodes import RecordedChunks, RecordedEpisode
from salus_ros.signals.layout import ALL_VALID, ENTROPY, SIGNALS

PERIOD = 1 / 30


def made_up(seed, fails=False, steps=90, **fields):
    """An episode of noise; in a failing one entropy rises over the last second before the onset."""
    rng = np.random.default_rng([seed, fails])
    signals = rng.random((steps, SIGNALS)).astype(np.float32)
    valid = np.full(steps, ALL_VALID, np.uint16)
    valid[0] ^= 1  # There is no change of the action before the first.
    if fails:
        signals[-30:, ENTROPY] += np.linspace(0.5, 3.0, 30)
    told = {
        "success": not fails,
        "failure_type": ("collision", "drop", "miss", "timeout")[seed % 4] if fails else "",
        "onset": steps * PERIOD if fails else -1.0,
        "end": steps * PERIOD,
        "instruction": "pick up the red block",
        "disturbance": "",
        "seed": seed,
    }
    return RecordedEpisode(signals, valid, np.arange(steps) * PERIOD, **(told | fields))


def with_latents(episode, seed, width=12):
    """The same with chunks ten steps apart; latents of failing episodes lie elsewhere."""
    rng = np.random.default_rng([seed, 7])
    count = len(episode.times) // 10
    rows = 16
    chunks = RecordedChunks(
        times=episode.times[::10][:count],
        latents=(rng.normal(size=(count, width)) + 2.0 * episode.failed).astype(np.float32),
        samples=np.full(count, 8),
        entropies=rng.random(count),
        max_probabilities=rng.random(count),
        sample_variances=np.full(count, np.nan),
        plans=rng.normal(size=(count, rows, 8)),
        plan_starts=episode.times[::10][:count],
        first_fresh=np.zeros(count, np.int64),
        time_step=PERIOD,
    )
    fields = {name: getattr(episode, name) for name in episode.__dataclass_fields__}
    return RecordedEpisode(**(fields | {"chunks": chunks}))


def many(count, failing=0.4, first=0, **fields):
    """Episodes of successive seeds, of which about a share fails."""
    rng = np.random.default_rng(first)
    return [made_up(first + i, bool(rng.random() < failing), **fields) for i in range(count)]
