"""The detectors as the gate uses them: plans in, alarms out, each row scored once.

A row is scored when it comes into force (see plan_rows). Memory is bounded: one plan, and what the
detectors carry from row to row.

Scoring takes some tenths of a millisecond, more than a tick has to spare, so `prepare` does it
ahead: what it found is used where those very rows come into force next.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.calibration import RATE_TOLERANCE, DetectorCalibration
from salus_ros.supervision.detectors.errors import DetectorError
from salus_ros.supervision.detectors.models import Carried
from salus_ros.supervision.detectors.plan_rows import DueRows, PlanRows, Span, TimedPlan
from salus_ros.supervision.detectors.rows import Block, steps_of


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
    """What scoring rows gives, and what it leaves for the row after; newest None: unusable."""

    rows: DueRows
    alarms: list[Alarm]
    newest: FloatArray | None
    carried: Carried | None = None
    forget: bool = False


class DetectorBank:
    """Scores rows as they come into force. Not thread-safe; `reset` whenever motion begins."""

    def __init__(
        self, calibration: DetectorCalibration, enabled: Collection[str] | None = None
    ) -> None:
        """enabled: detectors whose alarms are wanted; None: all that are calibrated.

        Raises DetectorError for a name that isn't calibrated.
        """
        self._models = calibration.models
        self._names = self._models.names
        unknown = set() if enabled is None else set(enabled) - set(self._names)
        if unknown:
            raise DetectorError(
                f"no calibrated detector {sorted(unknown)}: there are {', '.join(self._names)}"
            )
        self._rate = calibration.identity.rate
        self._dims = len(calibration.identity.names)
        self._thresholds = np.array([calibration.thresholds[name] for name in self._names])
        self._wanted = np.array([enabled is None or name in enabled for name in self._names])
        self.reset()

    @property
    def names(self) -> tuple[str, ...]:
        """The detectors, in the order of `scores`."""
        return self._names

    @property
    def scores(self) -> FloatArray:
        """Newest score of each detector over its threshold: above 1 is an alarm."""
        return self._newest

    def reset(self) -> None:
        """Forget plan, rows and observations."""
        self._rows = PlanRows()
        self._observation: tuple[bytes, ...] = ()
        self.restart()

    def restart(self) -> None:
        """Forget the rows so far, not the plan: motion begins again, as after HOLD."""
        self._newest: FloatArray = np.zeros(len(self._names))
        self._forget()

    def _forget(self) -> None:
        self._rows.restart()
        self._ahead: _Scored | None = None
        self._carried = self._models.fresh()
        self._before: FloatArray | None = None

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
        if scored.newest is not None:
            self._newest, self._carried = scored.newest, scored.carried
            self._before = scored.rows.actions[-1]
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
        return _Scored(due, [alarm], None, forget=True)

    def _scored(self, due: DueRows) -> _Scored:
        """Rows scored after those that came into force so far; changes nothing."""
        if abs(due.plan.rate / self._rate - 1) > RATE_TOLERANCE:
            return self._unusable("policy_rate", due.plan.rate, self._rate, due)
        if not np.isfinite(due.actions).all():
            return self._unusable("not_finite", inf, 0.0, due)
        carried = self._carried if due.follows else self._models.fresh()
        steps = steps_of(due.actions, self._before if due.follows else None)
        if due.begins and due.plan.off_plan:
            steps[0] = 0.0
        revisions = np.zeros_like(steps)
        revisions[0] = due.revision
        block = Block(due.actions, steps, due.stuck, revisions)
        # Finite numbers can still be too large to square.
        with np.errstate(over="ignore", invalid="ignore"):
            scores, carried = self._models.score(block, carried)
        # Not "above": a score that is no number is an alarm, too.
        rows, columns = np.nonzero(~(scores <= self._thresholds) & self._wanted)
        alarms = [
            Alarm(
                self._names[column],
                float(scores[row, column]),
                float(self._thresholds[column]),
                due.first + row,
                due.plan.due(due.first + row),
            )
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
        forget = not bool(np.isfinite(scores).all())
        return _Scored(due, alarms, scores[-1] / self._thresholds, carried, forget)


def same_observation(new: Sequence[bytes], old: Sequence[bytes]) -> bool:
    """Whether any part of what the policy sees is what it saw before."""
    return any(part and part == before for part, before in zip(new, old, strict=False))
