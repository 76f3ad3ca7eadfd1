"""External parties whose heartbeat is required, and faults that are counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from salus_ros.interfaces import Instant, nanoseconds, seconds
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.modes import Cause


class Heartbeats:
    """When each required party was last heard of."""

    def __init__(self, config: GateConfig, now: Instant) -> None:
        self._config = config
        self._last = dict.fromkeys(config.heartbeats, now.steady)

    def beat(self, name: str, now: Instant) -> None:
        """A party is alive; names that aren't required are ignored."""
        if name in self._last:
            self._last[name] = now.steady

    def causes(self, now: Instant) -> list[Cause]:
        """One for each party that is lost."""
        causes = []
        for name, last in self._last.items():
            age, bound = seconds(now.steady - last), self._config.heartbeats[name]
            if age > bound:
                causes.append(Cause("heartbeat_lost", f"{name}, {age:.3g} s", age, bound))
        return causes


class HardFaults:
    """Each is a cause of HOLD at the next tick; too many in a short time are a STOP."""

    def __init__(self, config: GateConfig, latch: Callable[[Cause], None]) -> None:
        """latch: puts the STOP in force."""
        self._window = config.hard_fault_window
        self._latch = latch
        self._times: deque[int] = deque(maxlen=config.hard_faults_to_stop)
        self._newest: Cause | None = None

    def add(self, cause: Cause, now: Instant) -> None:
        """Count a fault."""
        self._newest = cause
        self._times.append(now.steady)
        full = len(self._times) == self._times.maxlen
        if full and now.steady - self._times[0] <= nanoseconds(self._window):
            count = len(self._times)
            self._latch(Cause("repeated_faults", f"{count} in {self._window:g} s"))

    def causes(self, now: Instant) -> list[Cause]:
        """The newest fault since the last call, if any."""
        newest, self._newest = self._newest, None
        return [] if newest is None else [newest]

    def clear(self) -> None:
        """Begin to count anew."""
        self._times.clear()
