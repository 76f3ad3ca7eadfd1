"""Episodes of a recording with their outcomes, and how soon the replay spoke up in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salus_ros.interfaces import NANOSECONDS, FloatArray
from salus_ros.nodes import topics
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.metrics import Ranking
from salus_ros.prediction.quality import Scored, detection_quality, episode_ranking
from salus_ros.replay.bag_reader import Received
from salus_ros.replay.episode_entry import described
from salus_ros.replay.errors import BagError
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.replay.recordings import (
    EPISODE_TOPICS,
    StepRow,
    episode_spans,
    recorded_episode,
)
from salus_ros.signals.layout import SIGNAL_NAMES, SignalError
from salus_ros.signals.monitor import StepSignals
from salus_ros.supervision.modes import Mode

_NO_STEPS = np.empty((0, 0))


@dataclass(frozen=True, eq=False)
class Judged:
    """One episode: its outcome and signals, and what the replay made of it.

    score [steps]: of the predictor; empty: it said nothing. alarm, stop: the step at which the
    alarm first went on, and the gate first held or stopped a moving arm; -1: never.
    """

    episode: RecordedEpisode
    score: FloatArray
    alarm: int
    stop: int

    @property
    def steps(self) -> int:
        """Those before the failure."""
        return self.episode.steps_before_onset


def judged_episodes(run: RecordedRun, outputs: Outputs) -> tuple[list[Judged], list[str]]:
    """Episodes with outcomes, and why others can't be judged, in one line each."""
    found, left_out = [], []
    entry = (described(run.bag) if (run.bag / "metadata.yaml").is_file() else None) or {}
    for number, span in enumerate(episode_spans(_received(run, outputs)), start=1):
        try:
            episode = recorded_episode(span, f"{run.bag.name}#{number}", entry)
            if not episode.steps_before_onset:
                raise SignalError(f"{episode.name} failed before its first step")
        except (BagError, SignalError) as error:
            left_out.append(str(error))
            continue
        found.append(_judged(episode, span.start, outputs))
    return found, left_out


def _received(run: RecordedRun, outputs: Outputs) -> list[Received]:
    """What the episodes are cut from, with the replayed signals."""
    wanted = (topics.ACTION_CHUNK, topics.POLICY_STATE)
    rows = [Received(topics.SIGNALS, "", now, _row(due)) for now, due in outputs.steps]
    for event in run.events:
        time = event.time - run.offset
        if event.topic in wanted:
            rows.append(Received(event.topic, "", time, event.content.message))
        elif event.topic in EPISODE_TOPICS:
            rows.append(Received(event.topic, "", time, event.content))
    return sorted(rows, key=lambda item: item.time)


def _row(due: StepSignals) -> StepRow:
    return StepRow(due.step.execution_time, list(map(float, due.signals.values)), due.signals.valid)


def _judged(episode: RecordedEpisode, start: int, outputs: Outputs) -> Judged:
    times = np.array([(d.step.execution_time - start) / NANOSECONDS for _, d in outputs.steps])
    score: FloatArray = np.empty(0)
    alarm = -1
    said = [p for _, p in outputs.predictions]
    if len(said) == len(times) and any(p.valid for p in said):
        order = [i for i in np.argsort(times, kind="stable") if 0.0 <= times[i] <= episode.end]
        score = np.array([said[i].episode_score for i in order])[: episode.steps_before_onset]
        alarm = _first([said[i].alarm for i in order][: episode.steps_before_onset])
    return Judged(episode, score, alarm, _first_stop(episode, start, outputs))


def _first(flags: Sequence[bool]) -> int:
    return next((i for i, flag in enumerate(flags) if flag), -1)


def _first_stop(episode: RecordedEpisode, start: int, outputs: Outputs) -> int:
    """The step at which the gate first held an arm that it had let move, before the failure."""
    moved = False
    end = start + round(episode.end * NANOSECONDS)
    for tick, mode in zip(outputs.ticks, outputs.modes, strict=True):
        if not start <= tick <= end:
            continue
        if mode < Mode.HOLD:
            moved = True
        elif moved:
            step = int(np.searchsorted(episode.times, (tick - start) / NANOSECONDS))
            return step if step < episode.steps_before_onset else -1
    return -1


def scores(judged: Sequence[Judged], seed: int = 0) -> dict[str, Any] | None:
    """ROC-AUC, lead time, false alarms, time-weighted accuracy; None without an outcome.

    Of the predictor, of the gate's stops as alarms, and the ROC-AUC of each signal's highest value.
    """
    if not judged:
        return None
    told = [j for j in judged if j.score.size]
    group = [Scored(j.episode, _NO_STEPS, j.score) for j in told]
    every = [Scored(j.episode, _NO_STEPS, np.zeros(j.steps)) for j in judged]
    predictor = None
    if group:
        predictor = {
            "episodes": len(group),
            "auc": episode_ranking(group).auc_estimate(seed).to_json(),
            "alarm": detection_quality(group, [j.alarm for j in told], seed),
        }
    return {
        "episodes": len(judged),
        "failures": sum(j.episode.failed for j in judged),
        "successes": sum(not j.episode.failed for j in judged),
        "predictor": predictor,
        "gate": detection_quality(every, [j.stop for j in judged], seed),
        "signals": {
            name: _signal_auc(judged, column, seed) for column, name in enumerate(SIGNAL_NAMES)
        },
    }


def _signal_auc(judged: Sequence[Judged], column: int, seed: int) -> dict[str, Any]:
    highest, failed = [], []
    for one in judged:
        rows = slice(0, one.steps)
        known = (one.episode.valid[rows] >> column) & 1 == 1
        values = one.episode.signals[rows, column][known]
        if values.size:
            highest.append(float(values.max()))
            failed.append(one.episode.failed)
    ranking = Ranking(np.array(highest), np.array(failed, np.bool_)) if highest else None
    none = {"value": None, "low": None, "high": None}
    return none if ranking is None else ranking.auc_estimate(seed).to_json()
