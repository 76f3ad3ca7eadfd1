"""The detectors' scores of one row after another, in plain arithmetic: what the gate asks for.

`Models` scores whole episodes at once, for calibration and evaluation. A row at a time, numpy's
fifty small calls take ten times as long as this. A test holds that both say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isnan, sqrt

from salus_ros.supervision.detectors.frozen import MISSED_ROWS, STILL
from salus_ros.supervision.detectors.models import Models, SequenceModels
from salus_ros.supervision.detectors.oscillation import WINDOW
from salus_ros.supervision.detectors.slow_drift import ALLOWANCE
from salus_ros.supervision.detectors.whitening import Whitening
from salus_ros.supervision.reference import Row


class RowState:
    """What the rows so far leave for the next one.

    sums: of slow_drift, upwards then downwards [2 dims]. speed [dims], repeats, unseen: of frozen.
    steps: of oscillation, the last WINDOW [dims each].
    """

    # No dataclass: mypyc makes this one in a tenth of the time.
    __slots__ = ("repeats", "speed", "steps", "sums", "unseen")

    def __init__(
        self, sums: Row, speed: Row, repeats: int, unseen: float, steps: list[Row]
    ) -> None:
        self.sums, self.speed, self.repeats, self.unseen = sums, speed, repeats, unseen
        self.steps = steps


class RowScores:
    """Scores of a row by the models of a calibration."""

    def __init__(self, models: Models) -> None:
        self._action = _Whitened(models.action_drift.whitening)
        self._step = _Whitened(models.step_drift.whitening)
        self._sequence = None if models.sequence is None else _Sequence(models.sequence)
        self._dims = len(models.action_drift.whitening.center)

    def fresh(self) -> RowState:
        """The state before an episode's first row."""
        still = [0.0] * self._dims
        return RowState([0.0] * (2 * self._dims), still, 0, 0.0, [still] * WINDOW)

    def score(
        self, action: Row, step: Row, stuck: bool, revision: Row, before: RowState
    ) -> tuple[Row, RowState]:
        """Score of each detector, in the order of `Models.names`, and the state after the row.

        action, step, revision [dims], stuck: as a row of `Block`. A score may be infinite or no
        number where the row is too wild to be squared.
        """
        coordinates = self._action.coordinates(action)
        scores = [_length(coordinates), _length(self._step.coordinates(step))]
        if self._sequence is None:
            return scores, before
        others, after = self._sequence.score(coordinates, step, stuck, revision, before)
        return [*scores, *others], after


class _Whitened:
    """`Whitening` of one row."""

    def __init__(self, whitening: Whitening) -> None:
        self._center: Row = whitening.center.tolist()
        self._columns: list[Row] = whitening.matrix.T.tolist()

    def coordinates(self, row: Row) -> Row:
        offset = [x - c for x, c in zip(row, self._center)]
        found: Row = []
        for column in self._columns:
            total = 0.0
            for x, weight in zip(offset, column):
                total += x * weight
            found.append(total)
        return found


class _Sequence:
    """The detectors that judge a row by the ones before it, or by the plan before."""

    def __init__(self, sequence: SequenceModels) -> None:
        self._slow_reach: Row = sequence.slow_drift.reach.tolist()
        self._scale: Row = sequence.frozen.scale.tolist()
        self._frozen_reach: Row = sequence.frozen.reach.tolist()
        self._oscillation_reach: Row = sequence.oscillation.reach.tolist()
        self._revision_reach: Row = sequence.plan_revision.reach.tolist()

    def score(
        self, coordinates: Row, step: Row, stuck: bool, revision: Row, before: RowState
    ) -> tuple[Row, RowState]:
        sums = _sums(coordinates, before.sums)
        sizes = [abs(x / scale) for x, scale in zip(step, self._scale)]
        largest = _largest(sizes)
        repeats, speed, missed = 0, sizes, [0.0] * len(sizes)
        if largest < STILL:
            repeats, speed = before.repeats + 1, before.speed
            missed = [min(before.repeats, MISSED_ROWS) * x for x in speed]
        unseen = before.unseen + largest if stuck else 0.0
        frozen = [*missed, float(repeats), unseen]
        steps = [*before.steps[1:], step]
        scores = [
            _over(sums, self._slow_reach),
            _over(frozen, self._frozen_reach),
            _over(_wasted(steps), self._oscillation_reach),
            _over(revision, self._revision_reach),
        ]
        return scores, RowState(sums, speed, repeats, unseen, steps)


def _sums(coordinates: Row, before: Row) -> Row:
    """Page's sums after a row, see slow_drift."""
    gains = [*coordinates, *[-x for x in coordinates]]
    found: Row = []
    for gain, total in zip(gains, before):
        raised = total + (gain - ALLOWANCE)
        found.append(0.0 if raised < 0.0 else raised)
    return found


def _wasted(steps: list[Row]) -> Row:
    """Of each dimension, the way that it went less the way that it got, see oscillation."""
    went, got = [0.0] * len(steps[0]), [0.0] * len(steps[0])
    for step in steps:
        for j in range(len(step)):
            x = step[j]
            went[j] += abs(x)
            got[j] += x
    return [way - abs(reached) for way, reached in zip(went, got)]


def _length(row: Row) -> float:
    total = 0.0
    for x in row:
        total += x * x
    return sqrt(total)


def _over(values: Row, reach: Row) -> float:
    return _largest([value / most for value, most in zip(values, reach)])


def _largest(values: Sequence[float]) -> float:
    """No number where one of them is none."""
    worst = -inf
    for value in values:
        if isnan(value):
            return value
        worst = max(worst, value)
    return worst
