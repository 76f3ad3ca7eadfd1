"""What of a chunk's check isn't needed for the next ticks, done slice by slice.

The whole check of a chunk takes one or two milliseconds, and nothing may block the tick for so
long. So a chunk is followed once its form, order and limits are judged, along a curve of its first
few rows, whose places were looked at; what is left comes after that, a slice a call:

- check 6 of all rows, in blocks;
- the curve through all rows that can be followed, smoothed as little as is feasible;
- the curve that deviations are measured from, and how fast the tool will be.

Then the plan is whole. Until it is, it ends after HEAD seconds. Whatever the plan asks for,
meanwhile too, each command keeps every limit, workspace and tool speed included.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from salus_ros.interfaces import NANOSECONDS, ActionChunk, FloatArray
from salus_ros.supervision.chunk_checks import (
    CheckedActions,
    Rejection,
    check_space,
    rows_in,
)
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.plan import Plan, Window, tool_speeds_ahead
from salus_ros.supervision.reference import Curve, CurveLimits, Smoothing, control_points

# A plan that isn't whole yet may be followed for so long [s].
HEAD: Final = 0.1
# Rows looked at in one slice.
BLOCK_ROWS: Final = 64


class PlanCompletion:
    """Makes a plan whole. `advance` until `done`, which a rejection also is.

    chunk: the chunk behind the plan; plan: followed meanwhile.
    """

    def __init__(
        self,
        chunk: ActionChunk,
        plan: Plan,
        actions: CheckedActions,
        window: Window,
        limits: RobotLimits,
        config: GateConfig,
        curve: CurveLimits,
    ) -> None:
        """window: the rows that can be followed; curve: limits of the plan's curve."""
        self.chunk = chunk
        self.plan = plan
        self.done = False
        self._end = plan.end
        self._actions = actions
        self._window = window
        self._limits = limits
        self._config = config
        self._curve_limits = curve
        self._slices = self._work()

    def cut_short(self, until: float) -> None:
        """The plan ends at `until` [s since its start] as long as it isn't whole."""
        self.plan.end = min(self._end, until)

    def advance(self) -> Rejection | None:
        """One slice; what is wrong with the chunk, if anything is."""
        found = next(self._slices, None)
        self.done = self.done or found is not None
        return found

    def finish(self) -> Rejection | None:
        """All that is left, at once."""
        while not self.done:
            found = self.advance()
            if found is not None:
                return found
        return None

    def _work(self) -> Iterator[Rejection | None]:
        for first, rows in self._blocks():
            yield check_space(rows, first, self._row_step, self._limits, self._config)
        smoothing = Smoothing(self._window.rows, self._window.step, self._curve_limits)
        while not smoothing.done:
            yield None
            smoothing.advance()
        yield None
        reference = self._window.curve(smoothing.points)
        yield None
        raw = reference
        if smoothing.passes:
            raw = self._window.curve(control_points(self._window.rows, 0))
            yield None
        self._complete(smoothing, reference, raw)

    def _blocks(self) -> Iterator[tuple[int, FloatArray]]:
        """All rows that are to come and each block's first row, which overlap for its speed."""
        rows, passed = self._actions.rows, self._actions.passed
        overlap = rows_in(self._config.curvature_span, self._row_step)
        for begin in range(passed, len(rows), BLOCK_ROWS):
            first = max(passed, begin - overlap)
            yield first, rows[first : begin + BLOCK_ROWS]

    @property
    def _row_step(self) -> float:
        return self.chunk.time_step / NANOSECONDS

    def _complete(self, smoothing: Smoothing, reference: Curve, raw: Curve) -> None:
        plan, space = self.plan, self._limits.workspace
        step = self._window.step
        plan.reference, plan.raw, plan.passes = reference, raw, smoothing.passes
        plan.tool_speeds = (
            [] if space is None else tool_speeds_ahead(smoothing.points, step, space.tool)
        )
        plan.end = self._end
        self.done = True
