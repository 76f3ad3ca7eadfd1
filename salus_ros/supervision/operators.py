"""What people have asked for: hold, stop, emergency stop, and the end of it all."""

from __future__ import annotations

from salus_ros.interfaces import Instant
from salus_ros.supervision.modes import Cause, ModeMachine


class Operators:
    """Requests that last, as causes; those that latch go straight into the mode machine."""

    def __init__(self, machine: ModeMachine) -> None:
        self._machine = machine
        self._hold = False
        self._shutdown = False
        self.estop_pressed = False

    def hold(self, hold: bool) -> None:
        """HOLD until it is taken back."""
        self._hold = hold

    def stop(self) -> None:
        """STOP until reset."""
        self._machine.latch(Cause("stop_requested"))

    def estop(self, lasts: bool) -> None:
        """ESTOP until reset; lasts: and reset is refused until `release_estop`."""
        self.estop_pressed = self.estop_pressed or lasts
        self._machine.latch(Cause("estop_requested"))

    def release_estop(self) -> None:
        """A lasting emergency stop is let go; the mode stays until reset."""
        self.estop_pressed = False

    def shut_down(self) -> None:
        """HOLD that never ends."""
        self._shutdown = True

    def causes(self, now: Instant) -> list[Cause]:
        """Those in force at a tick."""
        asked = (
            ("estop_requested", self.estop_pressed),
            ("hold_requested", self._hold),
            ("shutdown", self._shutdown),
        )
        return [Cause(name) for name, in_force in asked if in_force]
