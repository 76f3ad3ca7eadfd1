"""What people have asked for: hold, stop, emergency stop, and the end of it all."""

from __future__ import annotations

from collections.abc import Iterable

from salus_ros.interfaces import Instant
from salus_ros.supervision.modes import Cause, ModeMachine


class Operators:
    """Requests that last, as causes; those that latch go straight into the mode machine."""

    def __init__(self, machine: ModeMachine) -> None:
        self._machine = machine
        self._asked: dict[str, Cause] = {}

    def hold(self, hold: bool) -> None:
        """HOLD until it is taken back."""
        self._ask("hold_requested", hold)

    def stop(self) -> None:
        """STOP until reset."""
        self._machine.latch(Cause("stop_requested"))

    def estop(self, lasts: bool) -> None:
        """ESTOP until reset; lasts: and reset is refused until `release_estop`."""
        if lasts:
            self._ask("estop_requested", True)
        self._machine.latch(Cause("estop_requested"))

    def release_estop(self) -> None:
        """A lasting emergency stop is let go; the mode stays until reset."""
        self._ask("estop_requested", False)

    def shut_down(self) -> None:
        """HOLD that never ends."""
        self._ask("shutdown", True)

    @property
    def estop_pressed(self) -> bool:
        """Whether an emergency stop lasts."""
        return "estop_requested" in self._asked

    def _ask(self, name: str, in_force: bool) -> None:
        if in_force:
            self._asked[name] = Cause(name)
        else:
            self._asked.pop(name, None)

    def causes(self, now: Instant) -> Iterable[Cause]:
        """Those in force at a tick."""
        return self._asked.values()
