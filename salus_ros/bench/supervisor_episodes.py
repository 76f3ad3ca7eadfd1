"""Normal episodes as the gate's detectors see them: recorded at the gate, to calibrate on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from salus_ros.interfaces import NANOSECONDS, FloatArray
from salus_ros.sim.lockstep import Lockstep, LockstepConfig
from salus_ros.sim.lockstep_series import panda_limits
from salus_ros.sim.rig import Rig
from salus_ros.sim.running_policy import RunningPolicy
from salus_ros.sim.series import episode_series
from salus_ros.supervision.detector_guard import Detectors
from salus_ros.supervision.detectors import DetectorError, Episode
from salus_ros.supervision.detectors.bank import Alarm, same_observation
from salus_ros.supervision.detectors.calibration import Identity
from salus_ros.supervision.detectors.plan_rows import DueRows, PlanRows, TimedPlan
from salus_ros.supervision.detectors.rows import Takeover

# Not "panda": what is normal in a simulation is not what is on a real arm.
ROBOT = "sim_panda"
POLICY = "scripted_expert"
# How long the scripted expert is taken to need for a chunk [s].
LATENCY = LockstepConfig().latency
# More left out than this share of a series is no normal operation.
LEFT_OUT_MOST = 0.2


class RowRecorder:
    """Keeps what a `DetectorBank` in its place would score (see `detector_guard.RowJudge`)."""

    names: tuple[str, ...] = ()
    scores: FloatArray = np.zeros(0)
    rate = 0.0  # Hz; of the newest chunk's rows

    def __init__(self) -> None:
        self._parts: list[list[DueRows]] = []
        self.reset()

    def reset(self) -> None:
        """As the bank does."""
        self._rows = PlanRows()
        self._observation: tuple[bytes, ...] = ()

    def restart(self) -> None:
        """As the bank does."""
        self._rows.restart()

    def take_chunk(
        self,
        actions: FloatArray,
        start_time: int,
        time_step: int,
        observation: Sequence[bytes] = (),
        off_plan: bool = False,
    ) -> None:
        """As the bank does."""
        stuck = same_observation(observation, self._observation)
        self._observation = tuple(observation)
        actions = np.array(actions, np.float64)
        self.rate = NANOSECONDS / time_step
        self._rows.take(TimedPlan(actions, start_time, time_step, stuck, off_plan))

    def score_until(self, until: int, since: int | None = None) -> list[Alarm]:
        """Keep the rows due up to `until` [ns] that weren't yet; no alarm."""
        span = self._rows.span(until, since)
        if span is not None:
            due = self._rows.rows(span)
            self._rows.pick(due)
            if not due.follows:
                self._parts.append([])
            self._parts[-1].append(due)
        return []

    def prepare(self, until: int) -> None:
        """Nothing takes long here."""

    def prepared(self, until: int) -> bool:
        """Always."""
        return True

    def take(self) -> list[Episode]:
        """What came into force since the last call; what isn't of one motion is parted."""
        parts, self._parts = self._parts, []
        episodes = [_joined(part) for part in parts]
        return [episode for episode in episodes if len(episode.actions) > 1]


def _joined(part: Sequence[DueRows]) -> Episode:
    takeovers, row = [], 0
    for number, due in enumerate(part):
        if due.begins or number == 0:
            plan = due.plan
            takeovers.append(Takeover(row, plan.actions[due.first :], plan.off_plan))
        row += due.last - due.first + 1
    return Episode(
        np.concatenate([due.actions for due in part]),
        np.concatenate([due.stuck for due in part]),
        tuple(takeovers),
    )


@dataclass(slots=True)
class Series:
    """Episodes of a policy that was not disturbed.

    normal: those that succeeded without the gate having to hold the arm. held: those that succeeded
    although it had to, each in its parts. failed: how many did not succeed. rate: of the policy's
    rows [Hz].
    """

    normal: list[Episode] = field(default_factory=list)
    held: list[list[Episode]] = field(default_factory=list)
    failed: int = 0
    rate: float = 0.0

    @property
    def left_out(self) -> dict[str, int]:
        """How many are no data to calibrate on, by reason."""
        return {"held by the gate": len(self.held), "failed": self.failed}


def make_lockstep(policy: RunningPolicy, detectors: Detectors | None) -> tuple[Lockstep, Rig]:
    """A lock-step graph of the simulated Panda, and its rig, which the caller closes.

    Raises DetectorError, one line, for a policy that can't be made.
    """
    try:
        backend = policy.make()
    except (ValueError, OSError, ImportError) as error:
        line = " ".join(str(error).split())
        raise DetectorError(f"policy {policy.name} can't be made: {line}") from error
    config = policy.lockstep(backend.cameras)
    rig = Rig()
    return Lockstep(rig, backend, panda_limits(), config=config, detectors=detectors), rig


def record_lockstep(
    count: int,
    seed: int,
    on_episode: Callable[[], None] = lambda: None,
    policy: RunningPolicy | None = None,
) -> Series:
    """`count` normal episodes of an undisturbed policy; the same for the same seed.

    policy None: the scripted expert. As many more are run as have to be left out; DetectorError
    where they are too many, or the policy can't be made.
    """
    policy = policy or RunningPolicy()
    recorder, series = RowRecorder(), Series()
    lockstep, rig = make_lockstep(policy, Detectors(recorder, panda_identity().names))
    most = count + max(3, round(LEFT_OUT_MOST * count))
    try:
        for instruction, episode_seed in episode_series(most, seed):
            run = lockstep.run_episode(instruction, episode_seed)
            _sort(series, recorder.take(), run.status.success)
            on_episode()
            series.rate = recorder.rate
            if len(series.normal) == count:
                return series
    finally:
        rig.close()
    raise DetectorError(
        f"only {len(series.normal)} of {most} episodes of {policy.name} are normal "
        f"({_told(series)}): no calibration holds for such a policy"
    )


def _sort(series: Series, parts: list[Episode], success: bool) -> None:
    if not success:
        series.failed += 1
    elif len(parts) == 1:
        series.normal.append(parts[0])
    else:
        series.held.append(parts)


def _told(series: Series) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in series.left_out.items())


@dataclass(frozen=True, slots=True, eq=False)
class PlanArrived:
    """A plan, when it reached the supervisor [ns], and what the policy had seen, as bytes."""

    time: int
    plan: TimedPlan
    observation: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class GateReported:
    """At a time [ns] the supervisor said whether it holds, and whether the arm is off its plan."""

    time: int
    holds: bool
    off_plan: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing comes after this time [ns]."""

    time: int


def replay(events: Sequence[PlanArrived | GateReported | Ended]) -> list[Episode]:
    """Rows that came into force at a gate with these events, in their order.

    Without a report the gate is taken to follow the plans at all times.
    """
    recorder = RowRecorder()
    holds = off_plan = False
    since: int | None = None
    for event in events:
        if not holds:
            recorder.score_until(event.time - 1, since)
        match event:
            case PlanArrived(time, plan, seen):
                recorder.take_chunk(plan.actions, plan.start, plan.step, seen, off_plan)
                since, off_plan = (time if since is None else since), False
            case GateReported(time, reported_hold, off):
                off_plan |= off
                if reported_hold:
                    recorder.restart()
                elif holds:
                    since = time
                holds = reported_hold
            case Ended():
                break
    return recorder.take()


def panda_ranges() -> FloatArray:
    """Span of each action dimension of the simulated Panda [rad, and m for the gripper]."""
    limits = panda_limits()
    spans = [high - low for low, high in zip(limits.arm.lower, limits.arm.upper, strict=True)]
    if limits.gripper is not None:
        spans.append(limits.gripper.open - limits.gripper.closed)
    return np.array(spans)


def panda_identity(rate: float = NANOSECONDS / 33_333_333) -> Identity:
    """Whom lock-step episodes are of; rate: of the policy's rows [Hz]."""
    limits = panda_limits()
    names = (*limits.arm.names, limits.gripper.name) if limits.gripper else limits.arm.names
    return Identity(ROBOT, names, rate)
