"""The clock that plans are followed on: level with the ROS clock, or slower where it has to be."""

from __future__ import annotations

from collections import deque
from typing import Final

from salus_ros.interfaces import Instant, seconds
from salus_ros.supervision.reference import Row

# A share of the clock's rate, a second.
STRETCH_RAMP: Final = 1.0


class PlanClock:
    """The time of the plan that each command stands for.

    A plan is timed on the ROS clock, commands come one period apart on the trajectory clock. While
    ticks are on time the two run alike. Each tick that comes too late puts the commands further
    behind the plan; this clock then runs up to `SLEW` faster, its rate changed by at most `RAMP`
    a second, until they are level again: the plan's velocity is scaled by at most `SLEW` and never
    steps, and no command is ever further from the one before than the limits allow. At rest the
    clock is set (`anchor`), for then nothing moves.

    **Stretching** makes plans slower on purpose: the clock runs at `stretch` of its rate, ramped by
    at most `STRETCH_RAMP` a second. What it falls behind by is no lag to be caught up with. But a
    plan begins where the arm was when it was observed, not where the arm would have been: so
    with each plan that is taken up (`take_up`) the clock only stays behind by what it has been
    stretched since that observation.
    """

    SLEW = 0.05
    RAMP = 0.25
    # Behind (or ahead) by so many ticks it begins to slew, and ends when level within half a tick.
    BEGIN_TICKS = 1.5
    END_TICKS = 0.5
    BEGIN_MIN = 5_000_000

    def __init__(self, period: int, memory: float, now: Instant) -> None:
        """period of a tick [ns]; memory: how old an observation may be [s]."""
        self._period = period
        self._slewing = False
        self._rate = 1.0
        self.time = now.ros
        self.stretch = 1.0
        # Total that stretching has cost [ns], what of it is forgiven, and what it was when.
        self._lost = self._forgiven = 0
        self._history: deque[tuple[int, int]] = deque(maxlen=round(memory * 1e9 / period) + 2)

    @property
    def rate(self) -> float:
        """How fast the plan's time runs."""
        return self._rate * self.stretch

    def anchor(self, now: Instant, stretch: float = 1.0) -> None:
        """Set the clock to now; only while nothing moves."""
        self.time = now.ros
        self.stretch = stretch
        self._rate = 1.0
        self._forgiven = self._lost
        self._slewing = False
        self._history.clear()

    def shift(self, jump: int) -> None:
        """Follow a jump of the ROS clock [ns]."""
        self.time += jump
        for k, (when, lost) in enumerate(self._history):
            self._history[k] = (when + jump, lost)

    def lag(self, now: Instant) -> int:
        """How far the next command will be behind now [ns], but for stretching."""
        return now.ros - self.time - self._period - (self._lost - self._forgiven)

    def time_for(self, observed: int) -> int:
        """What `time` will be once a plan observed at a ROS time [ns] is taken up."""
        return self.time + self._lost_until(observed) - self._forgiven

    def take_up(self, observed: int) -> None:
        """From now on follow a plan that was observed at a ROS time [ns]."""
        self.time = self.time_for(observed)
        self._forgiven = self._lost_until(observed)

    def _lost_until(self, observed: int) -> int:
        # Never less than is forgiven already: an older plan doesn't turn the clock back.
        lost = self._lost
        for when, before in reversed(self._history):
            if when <= observed:
                break
            lost = before
        return max(lost, self._forgiven)

    def foresee(self, now: Instant, stretch: float = 1.0) -> tuple[int, int, float]:
        """What `advance` would give, and `rate` after it."""
        rate = self._steered(self.lag(now))[1] * self._stretched(stretch)
        return self.time, self.time + round(self._period * rate), rate

    def advance(self, now: Instant, stretch: float = 1.0) -> tuple[int, int]:
        """The plan's time of the last command and of the next one [ns]; stretch: wanted."""
        self._slewing, self._rate = self._steered(self.lag(now))
        self.stretch = self._stretched(stretch)
        if self._history or self.stretch < 1.0:
            self._history.append((now.ros, self._lost))
        before = self.time
        self.time += round(self._period * self.rate)
        self._lost += round(self._period * (1.0 - self.stretch))
        return before, self.time

    def _stretched(self, wanted: float) -> float:
        most = STRETCH_RAMP * seconds(self._period)
        return self.stretch + min(max(wanted - self.stretch, -most), most)

    def _steered(self, lag: int) -> tuple[bool, float]:
        """Whether it slews at the next tick, and its rate but for stretching."""
        begin = max(self.BEGIN_TICKS * self._period, self.BEGIN_MIN)
        slewing = abs(lag) > (self.END_TICKS * self._period if self._slewing else begin)
        wanted = 0.0
        if slewing:
            # In the last stretch no faster than the ramp can brake in time.
            wanted = min(self.SLEW, (2 * self.RAMP * seconds(abs(lag))) ** 0.5)
            wanted = wanted if lag > 0 else -wanted
        change = self.RAMP * seconds(self._period)
        rate = 1.0 + min(max(wanted, self._rate - 1.0 - change), self._rate - 1.0 + change)
        return slewing, rate


def scaled(state: tuple[Row, Row, Row], rate: float) -> tuple[Row, Row, Row]:
    """A state of a curve as it is seen on a clock at which the curve's time runs at `rate`."""
    if rate == 1.0:
        return state
    q, v, a = state
    return q, [rate * x for x in v], [rate * rate * x for x in a]
