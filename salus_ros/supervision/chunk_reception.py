"""Where chunks come in: judged, then followed or refused, counted and recorded either way."""

from __future__ import annotations

from salus_ros.interfaces import ActionChunk, Instant
from salus_ros.supervision.chunk_checks import Rejection
from salus_ros.supervision.detector_guard import DetectorGuard
from salus_ros.supervision.intake import ChunkIntake
from salus_ros.supervision.interventions import InterventionQueue, Kind
from salus_ros.supervision.modes import Cause, Mode, ModeMachine
from salus_ros.supervision.motion import MotionGenerator
from salus_ros.supervision.parties import HardFaults
from salus_ros.supervision.plan_completion import PlanCompletion
from salus_ros.supervision.plan_keeper import PlanKeeper


class ChunkReception:
    """Hands accepted plans to the plan keeper, and hard faults on."""

    def __init__(
        self,
        intake: ChunkIntake,
        plans: PlanKeeper,
        generator: MotionGenerator,
        machine: ModeMachine,
        faults: HardFaults,
        queue: InterventionQueue,
        detectors: DetectorGuard | None = None,
    ) -> None:
        self.intake = intake
        self._plans = plans
        self._generator = generator
        self._machine = machine
        self._faults = faults
        self._queue = queue
        self._detectors = detectors
        self._completion: PlanCompletion | None = None
        self.accepted = 0
        self.rejected = 0

    def take(self, chunk: ActionChunk, now: Instant, in_slices: bool) -> bool:
        """Check a chunk, to be followed from the next tick on; whether accepted. Never raises.

        in_slices: what isn't needed at once is left to `advance`, which may still drop the chunk.
        """
        try:
            rejection = self._judge(chunk, now, in_slices)
        except Exception as error:  # whatever is in a chunk, the gate goes on
            text = f"can't be read: {type(error).__name__}: {error}"
            rejection = Rejection("chunk_malformed", text, hard=True)
        if rejection is not None:
            number = chunk.number if isinstance(chunk.number, int) else 0
            self.refuse(str(chunk.source_id), number, rejection, now)
        return rejection is None

    def _judge(self, chunk: ActionChunk, now: Instant, in_slices: bool) -> Rejection | None:
        standing = self._machine.holding or self._generator.at_rest
        commanded = self._generator.state[0]
        completion = self.intake.judge(chunk, now, standing, self._plans, commanded)
        if isinstance(completion, Rejection):
            return completion
        rejection = None if in_slices else completion.finish()
        if rejection is not None:
            return rejection
        self._completion = completion if in_slices else None
        self.intake.order.accept(chunk)
        self._plans.adopt(completion.plan, self._machine.holding)
        self._accept(chunk)
        return None

    @property
    def unfinished(self) -> bool:
        """Whether the check of an accepted chunk isn't over."""
        return self._completion is not None

    def advance(self, now: Instant) -> bool:
        """One slice of an accepted chunk's check; whether more are left."""
        completion = self._completion
        if completion is None:
            return False
        rejection = completion.advance()
        if completion.done:
            self._completion = None
        if rejection is not None:
            self._plans.withdraw(completion.plan)
            self.accepted -= 1
            self.refuse(completion.chunk.source_id, completion.chunk.number, rejection, now)
        return self.unfinished

    def _accept(self, chunk: ActionChunk) -> None:
        """Every accepted chunk comes past here, once and as received."""
        self.accepted += 1
        if self._detectors is not None:
            self._detectors.take(chunk)

    def refuse(self, source_id: str, number: int, rejection: Rejection, now: Instant) -> None:
        """Drop a chunk: counted and recorded, and a HOLD where it is a hard fault."""
        self.rejected += 1
        if rejection.hard:
            detail = f"{rejection.reason}: {rejection.message}"
            self._faults.add(Cause("chunk_fault", detail, rejection.value, rejection.bound), now)
        mode = self._machine.mode
        self._queue.record(
            now,
            mode,
            max(mode, Mode.HOLD) if rejection.hard else mode,
            Kind.EVENT,
            rejection.reason,
            f"chunk dropped: {rejection.message}",
            source_id=source_id,
            chunk_number=number,
            value=rejection.value,
            bound=rejection.bound,
        )
