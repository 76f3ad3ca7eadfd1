"""A recorded episode, as the failure predictor is trained and judged on it.

Made from bags (see replay) or in lock-step. All times are seconds since the episode's start.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray
from salus_ros.prediction.layout import FAILURE_TYPES
from salus_ros.signals.layout import LAYOUT_VERSION, SignalError, check_width

UNKNOWN_SEED = -1
FINGERPRINT_LENGTH = 16


def _no_rows() -> FloatArray:
    return np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class RecordedChunks:
    """The chunks of an episode in order of arrival, [N] of them.

    times [N]: when each arrived. latents [N, width] float32, width 0 where the policy has none.
    samples [N]: of the action distribution, 0 where there was none; entropies, max_probabilities
    [N] of it (see PolicyState.msg). sample_variances [N]: variance of the normalised actions over
    the samples, averaged over dimensions and execution window; NaN where it was not recorded.
    plans [N, rows, dims] rad and m as published, NaN rows where shorter; plan_starts [N] s: when
    row 0 is due; first_fresh [N]: first row that comes from this inference; time_step s.
    """

    times: FloatArray = field(default_factory=_no_rows)
    latents: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    samples: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    entropies: FloatArray = field(default_factory=_no_rows)
    max_probabilities: FloatArray = field(default_factory=_no_rows)
    sample_variances: FloatArray = field(default_factory=_no_rows)
    plans: FloatArray = field(default_factory=lambda: np.empty((0, 0, 0)))
    plan_starts: FloatArray = field(default_factory=_no_rows)
    first_fresh: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    time_step: float = 1 / 30

    def __post_init__(self) -> None:
        count = len(self.times)
        for name in ("latents", "samples", "entropies", "max_probabilities", "sample_variances"):
            self._check_length(name, count)
        for name in ("plans", "plan_starts", "first_fresh"):
            self._check_length(name, count)

    def _check_length(self, name: str, count: int) -> None:
        found = len(getattr(self, name))
        if found != count:
            raise SignalError(f"{name} has {found} chunks, there are {count} times")


@dataclass(frozen=True, slots=True, eq=False)
class RecordedEpisode:
    """One episode with its outcome.

    signals [T, 12] float32, valid [T] uint16 (bits), times [T] s: when each step was executed.
    chunks: what the policy said, as far as recorded. success: the task was done in the end.
    failure_type, onset [s]: the first failure, "" and -1 where there was none, also where the
    policy recovered and succeeded after all. end [s]. disturbance: its name, "" for none.
    seed: of the start state, UNKNOWN_SEED where there is none, as on a real robot. policy, robot:
    names. step_period [s]: of the executed steps. layout_version: of the signals. source: the
    file, for messages.
    """

    signals: NDArray[np.float32]
    valid: NDArray[np.uint16]
    times: FloatArray
    success: bool
    failure_type: str
    onset: float
    end: float
    instruction: str
    disturbance: str = ""
    seed: int = UNKNOWN_SEED
    policy: str = ""
    robot: str = ""
    step_period: float = 1 / 30
    layout_version: int = LAYOUT_VERSION
    chunks: RecordedChunks = field(default_factory=RecordedChunks)
    source: str = ""

    def __post_init__(self) -> None:
        """Raise SignalError where an episode can't be used, in one line."""
        self._check_signals()
        self._check_outcome()

    def _check_signals(self) -> None:
        if self.signals.ndim != 2 or len(self.signals) == 0:
            raise SignalError(f"{self.name}: no signals were recorded: record again")
        check_width(self.signals.shape[1], self.name)
        if self.layout_version != LAYOUT_VERSION:
            raise SignalError(
                f"{self.name} has signal layout {self.layout_version}, this version reads "
                f"{LAYOUT_VERSION}: record again"
            )
        steps = len(self.signals)
        if len(self.valid) != steps or len(self.times) != steps:
            raise SignalError(
                f"{self.name}: {steps} signal vectors, {len(self.valid)} validity bits and "
                f"{len(self.times)} times: record again"
            )
        if not np.isfinite(self.times).all() or (np.diff(self.times) < 0).any():
            raise SignalError(f"{self.name}: the times of its steps don't rise: record again")

    def _check_outcome(self) -> None:
        if self.failure_type and self.failure_type not in FAILURE_TYPES:
            raise SignalError(
                f"{self.name}: failure type '{self.failure_type}' is none of "
                f"{', '.join(FAILURE_TYPES)}"
            )
        if bool(self.failure_type) != (self.onset >= 0):
            raise SignalError(f"{self.name}: failure type and onset don't agree: record again")
        if not self.success and not self.failure_type:
            raise SignalError(f"{self.name} has neither success nor failure: it was cut off")

    @property
    def name(self) -> str:
        """For messages."""
        return self.source or f"episode '{self.instruction}', seed {self.seed}"

    @property
    def failed(self) -> bool:
        """Whether a failure happened, recovered from or not."""
        return bool(self.failure_type)

    @property
    def steps_before_onset(self) -> int:
        """How many of the steps count: those executed before the failure's onset."""
        if not self.failed:
            return len(self.times)
        return int(np.searchsorted(self.times, self.onset, side="left"))

    @property
    def fingerprint(self) -> str:
        """The same for the same content, whatever file it is in."""
        digest = hashlib.sha256()
        for part in (self.signals, self.valid, self.times):
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(f"{self.instruction}|{self.disturbance}|{self.failure_type}".encode())
        return digest.hexdigest()[:FINGERPRINT_LENGTH]

    @property
    def start(self) -> str:
        """What it began from: episodes of one seed are alike at first, also if disturbed later."""
        if self.seed == UNKNOWN_SEED:
            return self.fingerprint
        return f"{self.instruction}|{self.seed}"


@dataclass(frozen=True, slots=True)
class Recordings:
    """Episodes of a folder, and what was left out: (file, reason in one line)."""

    episodes: tuple[RecordedEpisode, ...]
    skipped: tuple[tuple[str, str], ...] = ()
