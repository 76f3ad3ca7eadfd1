"""Check 8 in the gate: rows of accepted chunks are scored as the arm comes to follow them.

A row is scored once, at the tick whose command begins to follow it, on the plan's clock; nothing is
scored while the gate holds, and what was known of earlier rows is forgotten there: after a stop
motion begins anew. An alarm is a cause at that one tick. It puts the arm into HOLD, from which the
gate resumes as always, or into STOP where a detector is configured so.

Where the arm fell behind the plan (`deviation_bound`), the policy's next chunk begins where the arm
is: that way back is the gate's doing, and no step of the policy's (`off_plan`).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from salus_ros.interfaces import ActionChunk, FloatArray, Instant
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.detectors import DetectorBank, DetectorCalibration, DetectorError
from salus_ros.supervision.detectors.bank import Alarm
from salus_ros.supervision.detectors.calibration import PER_EPISODE
from salus_ros.supervision.measurement import Measurement
from salus_ros.supervision.modes import Cause, ModeMachine
from salus_ros.supervision.plan_judge import PlanJudge
from salus_ros.supervision.plan_keeper import PlanKeeper

# What an alarm of a detector does.
OFF, HOLD, STOP = ACTIONS = ("off", "hold", "stop")


class RowJudge(Protocol):
    """What scores rows: `DetectorBank`, or what records them to calibrate one."""

    @property
    def names(self) -> Sequence[str]:
        """The detectors, in the order of `scores`."""

    @property
    def scores(self) -> FloatArray:
        """Newest score of each over its threshold."""

    def take_chunk(
        self,
        actions: FloatArray,
        start_time: int,
        time_step: int,
        observation: Sequence[bytes] = (),
        off_plan: bool = False,
    ) -> None:
        """Follow this plan from now on."""

    def score_until(self, until: int) -> list[Alarm]:
        """Score what came into force up to `until` [ns]; the alarms."""

    def prepare(self, until: int) -> None:
        """Score ahead, so that `score_until` has less to do; it returns the same without."""

    def prepared(self, until: int) -> bool:
        """Whether `prepare` has nothing to do."""

    def restart(self) -> None:
        """Forget the rows so far, not the plan: motion begins anew."""

    def reset(self) -> None:
        """Forget everything."""


@dataclass(frozen=True, slots=True)
class Detectors:
    """judge: scores rows whose columns are `columns`, joints and gripper by name.

    stops: detectors whose alarm is a STOP; those of the others are a HOLD.
    """

    judge: RowJudge
    columns: tuple[str, ...]
    stops: frozenset[str] = frozenset()


def make_detectors(
    calibration: DetectorCalibration, actions: Mapping[str, str] = MappingProxyType({})
) -> Detectors:
    """Detectors for the gate; actions: by detector "off", "hold" or "stop", "hold" where not told.

    Raises DetectorError, one line, for a calibration that isn't of whole episodes: its thresholds
    would be passed in most of them.
    """
    if calibration.mode != PER_EPISODE:
        raise DetectorError(
            f"the detectors' calibration is {calibration.mode}, the gate needs {PER_EPISODE}: "
            "calibrate on recorded episodes"
        )
    told = {name: actions.get(name, HOLD) for name in calibration.models.names}
    enabled = [name for name, action in told.items() if action != OFF]
    stops = frozenset(name for name, action in told.items() if action == STOP)
    return Detectors(DetectorBank(calibration, enabled), calibration.identity.names, stops)


class DetectorGuard:
    """See the module. Begins anew at each activation."""

    def __init__(
        self,
        config: GateConfig,
        detectors: Detectors,
        machine: ModeMachine,
        plans: PlanKeeper,
        measurement: Measurement,
        judge: PlanJudge,
    ) -> None:
        self._config = config
        self._judge = detectors.judge
        self._columns = detectors.columns
        self._stops = detectors.stops
        self._machine = machine
        self._plans = plans
        self._measurement = measurement
        self._plan_judge = judge
        self._fresh = True
        self._strayed = False
        self._unfit = ""
        self._judge.reset()

    def take(self, chunk: ActionChunk) -> None:
        """An accepted chunk, as received."""
        names = (*chunk.joint_names, *([chunk.gripper_name] if chunk.gripper_name else []))
        missing = [name for name in self._columns if name not in names]
        self._unfit = f"chunk {chunk.number} has no {missing[0]} to score" if missing else ""
        if missing:
            self._judge.reset()
            return
        actions = chunk.actions
        if names != self._columns:
            actions = actions[:, [names.index(name) for name in self._columns]]
        seen = array("d", self._measurement.positions).tobytes()
        self._judge.take_chunk(
            actions, chunk.start_time, chunk.time_step, (seen,), off_plan=self._strayed
        )
        self._strayed = False

    def retune(self, config: GateConfig) -> None:
        """Use other parameters from now on."""
        self._config = config

    def shift(self, jump: int) -> None:
        """The ROS clock jumped: due times of the plan so far mean nothing any more."""
        self._judge.reset()
        self._fresh = True

    def causes(self, now: Instant) -> list[Cause]:
        """The gravest alarm of this tick, if any: that of a STOP, then the farthest beyond."""
        if self._unfit:
            return [Cause("detector_alarm", self._unfit)]
        if self._machine.holding:
            if not self._fresh:
                self._judge.restart()
                self._fresh = True
            return []
        self._fresh = False
        self._strayed |= self._plan_judge.deviation > self._config.deviation_bound
        alarms = self._judge.score_until(self._plans.clock.time + self._config.period)
        if not alarms:
            return []
        worst = max(alarms, key=self._gravity)
        name = "detector_stop" if worst.detector in self._stops else "detector_alarm"
        return [Cause(name, worst.text, worst.score, worst.threshold)]

    def prepare(self) -> None:
        """Score ahead what the next tick, or one soon after, begins to follow."""
        if not self._unfit and not self._machine.holding:
            self._judge.prepare(self._plans.clock.time + self._config.period)

    @property
    def prepared(self) -> bool:
        """Whether there is nothing to be scored ahead."""
        until = self._plans.clock.time + self._config.period
        return bool(self._unfit) or self._machine.holding or self._judge.prepared(until)

    def _gravity(self, alarm: Alarm) -> tuple[bool, float]:
        ratio = alarm.score / alarm.threshold if alarm.threshold else 0.0
        return alarm.detector in self._stops, ratio

    @property
    def scores(self) -> Mapping[str, float]:
        """Newest score of each detector over its threshold, by name."""
        return dict(zip(self._judge.names, self._judge.scores.tolist(), strict=True))
