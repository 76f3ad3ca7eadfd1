"""The detectors as the gate uses them: plans in, alarms out, each row scored once.

A row is scored when it comes into force (see plan_rows). Memory is bounded: one plan, and what the
detectors carry from row to row.

So that a tick has less to do, `prepare` scores ahead: what it found is used where those very rows
come into force next.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.calibration import RATE_TOLERANCE, DetectorCalibration
from salus_ros.supervision.detectors.errors import DetectorError
from salus_ros.supervision.detectors.plan_rows import DueRows, PlanRows, Span, TimedPlan
from salus_ros.supervision.detectors.row_scores import RowScores, RowState
from salus_ros.supervision.reference import Row


@dataclass(frozen=True, slots=True)
class Alarm:
    """A detector's score above its threshold.

    row: in the chunk's actions, due at `time` [ns]. Beside the detectors' names, `detector` may be
    "policy_rate" (score and threshold in Hz: steps of another length can't be judged) or
    "not_finite".
    """

    detector: str
    score: float
    threshold: float
    row: int
    time: int

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.detector}: {self.score:.3g}, threshold {self.threshold:.3g}, row {self.row}"


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """What scoring rows gives, and what it leaves for the row after; newest: scores of the last.

    state None: the rows can't be scored.
    """

    rows: DueRows
    alarms: list[Alarm]
    newest: Sequence[float] = ()
    state: RowState | None = None
    last: Row | None = None
    forget: bool = False


class DetectorBank:
    """Scores rows as they come into force. Not thread-safe; `reset` whenever motion begins."""

    def __init__(
        self, calibration: DetectorCalibration, enabled: Collection[str] | None = None
    ) -> None:
        """enabled: detectors whose alarms are wanted; None: all that are calibrated.

        Raises DetectorError for a name that isn't calibrated.
        """
        self._scores = RowScores(calibration.models)
        self._names = calibration.models.names
        unknown = set() if enabled is None else set(enabled) - set(self._names)
        if unknown:
            raise DetectorError(
                f"no calibrated detector {sorted(unknown)}: there are {', '.join(self._names)}"
            )
        self._rate = calibration.identity.rate
        self._dims = len(calibration.identity.names)
        self._thresholds = [float(calibration.thresholds[name]) for name in self._names]
        self._wanted = [enabled is None or name in enabled for name in self._names]
        self.reset()

    @property
    def names(self) -> tuple[str, ...]:
        """The detectors, in the order of `scores`."""
        return self._names

    @property
    def scores(self) -> FloatArray:
        """Newest score of each detector over its threshold: above 1 is an alarm."""
        return np.array(self._newest) / self._thresholds

    def reset(self) -> None:
        """Forget plan, rows and observations."""
        self._rows = PlanRows()
        self._observation: tuple[bytes, ...] = ()
        self.restart()

    def restart(self) -> None:
        """Forget the rows so far, not the plan: motion begins again, as after HOLD."""
        self._newest: Sequence[float] = [0.0] * len(self._names)
        self._forget()

    def _forget(self) -> None:
        self._rows.restart()
        self._ahead: _Scored | None = None
        self._state = self._scores.fresh()
        self._before: Row | None = None

    def take_chunk(
        self,
        actions: FloatArray,
        start_time: int,
        time_step: int,
        observation: Sequence[bytes] = (),
        off_plan: bool = False,
    ) -> None:
        """Follow this plan from now on; nothing is scored yet. DetectorError for a wrong shape.

        actions [rows, dims] in the order of the calibration's names, as received; row k due at
        start_time + k * time_step [ns]. observation: what repeats to the byte only where the
        policy sees the same as before: joint positions, a hash of a camera's image; b"": unknown.
        off_plan: the arm was away from the plan when the policy saw it (see TimedPlan).
        """
        plan = TimedPlan(
            np.array(actions, dtype=np.float64),
            start_time,
            time_step,
            same_observation(observation, self._observation),
            off_plan,
        )
        if plan.actions.shape[1] != self._dims:
            raise DetectorError(
                f"actions of shape {plan.actions.shape}: rows of {self._dims} expected"
            )
        self._observation = tuple(observation)
        self._rows.take(plan)

    def score_until(self, until: int, since: int | None = None) -> list[Alarm]:
        """Score the rows due up to `until` [ns] that weren't yet; the alarms of each.

        since [ns]: where scoring begins after a reset; None: with the row in force at `until`.
        """
        due = self._rows.span(until, since)
        if due is None:
            return []
        scored = self._scored_ahead(due) or self._scored(self._rows.rows(due))
        self._rows.pick(scored.rows)
        self._ahead = None
        if scored.state is not None:
            self._newest, self._state, self._before = scored.newest, scored.state, scored.last
        if scored.forget:
            self._forget()
        return scored.alarms

    def prepare(self, until: int) -> None:
        """Score ahead what will be due at `until` [ns], or else the row after; once each."""
        due = self._rows.span_ahead(until)
        if due is not None and self._scored_ahead(due) is None:
            self._ahead = self._scored(self._rows.rows(due))

    def prepared(self, until: int) -> bool:
        """Whether `prepare` has nothing to do."""
        due = self._rows.span_ahead(until)
        return due is None or self._scored_ahead(due) is not None

    def _scored_ahead(self, due: Span) -> _Scored | None:
        ahead = self._ahead
        if ahead is None:
            return None
        plan, first, last = due
        rows = ahead.rows
        same = rows.plan is plan and rows.first == first and rows.last == last
        return ahead if same else None

    def score_chunk(
        self,
        actions: FloatArray,
        start_time: int,
        time_step: int,
        until: int,
        observation: Sequence[bytes] = (),
    ) -> list[Alarm]:
        """`take_chunk`, then `score_until`."""
        self.take_chunk(actions, start_time, time_step, observation)
        return self.score_until(until)

    def _unusable(self, name: str, score: float, threshold: float, due: DueRows) -> _Scored:
        alarm = Alarm(name, score, threshold, due.first, due.plan.due(due.first))
        return _Scored(due, [alarm], forget=True)

    def _scored(self, due: DueRows) -> _Scored:
        """Rows scored after those that came into force so far; changes nothing."""
        if abs(due.plan.rate / self._rate - 1) > RATE_TOLERANCE:
            return self._unusable("policy_rate", due.plan.rate, self._rate, due)
        actions: list[Row] = due.actions.tolist()
        if not all(all(map(isfinite, action)) for action in actions):
            return self._unusable("not_finite", inf, 0.0, due)
        state = self._state if due.follows else self._scores.fresh()
        before = self._before if due.follows and self._before is not None else actions[0]
        still = [0.0] * self._dims
        alarms: list[Alarm] = []
        newest: Row = []
        forget = False
        for row, action in enumerate(actions):
            apart = row == 0 and due.begins and due.plan.off_plan
            step = still if apart else [x - y for x, y in zip(action, before)]
            revision = still if row else due.revision.tolist()
            newest, state = self._scores.score(action, step, due.plan.stuck, revision, state)
            alarms += self._alarms(newest, due, due.first + row)
            forget = forget or not all(map(isfinite, newest))
            before = action
        return _Scored(due, alarms, newest, state, before, forget)

    def _alarms(self, scores: Row, due: DueRows, row: int) -> list[Alarm]:
        # Not "above": a score that is no number is an alarm, too.
        return [
            Alarm(name, score, threshold, row, due.plan.due(row))
            for name, score, threshold, wanted in zip(
                self._names, scores, self._thresholds, self._wanted
            )
            if wanted and not score <= threshold
        ]


def same_observation(new: Sequence[bytes], old: Sequence[bytes]) -> bool:
    """Whether any part of what the policy sees is what it saw before."""
    return any(part and part == before for part, before in zip(new, old, strict=False))
