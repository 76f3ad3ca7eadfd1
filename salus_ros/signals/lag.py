"""Where the arm should be, from the commands sent: a first-order lag for each joint.

dx/dt = (u - x) / T, u the newest command, held until the next. Exact between commands:
x(t) = x(t0) + (1 - exp(-(t - t0) / T)) * (u - x(t0)).
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from salus_ros.interfaces import FloatArray, nanoseconds, seconds
from salus_ros.signals.layout import LARGEST_SQUARE, SignalError, square

SHORTEST_LAG: Final = 1e-3
LONGEST_LAG: Final = 2.0
# A joint that moves less than this tells nothing about its lag [rad].
LEAST_MOTION: Final = 0.01
FEWEST_SAMPLES: Final = 50


def fit_lag(commands: FloatArray, measured: FloatArray, dt: float) -> FloatArray:
    """Time constants [joints] s that predict the measured joints best, in least squares.

    commands, measured [n, joints] rad at the same times, dt seconds apart. The whole course is
    predicted from its first sample (output error), so that noise does not bias the result, and the
    best of a logarithmic grid is refined. A joint that hardly moved gets the others' median.
    """
    commands, measured = np.asarray(commands, np.float64), np.asarray(measured, np.float64)
    if commands.shape != measured.shape or commands.ndim != 2 or len(commands) < FEWEST_SAMPLES:
        raise SignalError(
            f"commands of shape {commands.shape} and joints of shape {measured.shape}: the same "
            f"[n >= {FEWEST_SAMPLES}, joints] is needed"
        )
    if not (np.isfinite(commands).all() and np.isfinite(measured).all() and dt > 0.0):
        raise SignalError(f"a command or joint is not finite, or dt is {dt}: leave such spans out")
    moved = np.ptp(commands, axis=0) >= LEAST_MOTION
    if not moved.any():
        raise SignalError(f"no joint moved by {LEAST_MOTION} rad: record the arm while it works")
    lags = _best_lags(commands, measured, dt)
    lags[~moved] = np.median(lags[moved])
    return lags


def _best_lags(commands: FloatArray, measured: FloatArray, dt: float) -> FloatArray:
    joints = commands.shape[1]
    low, high = np.full(joints, np.log(SHORTEST_LAG)), np.full(joints, np.log(LONGEST_LAG))
    for _ in range(4):
        grid = np.linspace(low, high, 25)
        errors = _squared_errors(commands, measured, dt, np.exp(grid))
        best = np.argmin(errors, axis=0)
        low = grid[np.maximum(best - 1, 0), np.arange(joints)]
        high = grid[np.minimum(best + 1, len(grid) - 1), np.arange(joints)]
    return np.asarray(np.exp((low + high) / 2.0))


def _squared_errors(
    commands: FloatArray, measured: FloatArray, dt: float, lags: FloatArray
) -> FloatArray:
    """[candidates, joints] of the candidate lags [candidates, joints]."""
    gain = -np.expm1(-dt / lags)
    state = np.repeat(measured[:1], len(lags), axis=0)
    total = np.zeros_like(lags)
    for command, joints in zip(commands[:-1], measured[1:], strict=True):
        state += gain * (command - state)
        total += (joints - state) ** 2
    return total


# When [ns], where the joints are then, what they are commanded to [joints] rad.
Entry = tuple[int, list[float], list[float]]


class LagModel:
    """Predicts the joints from the commands as they arrive; keeps the last `memory` of them.

    lag [joints] s, as fitted. After a pause of more than `timeout` seconds without a command the
    prediction is unknown, and begins anew with the next one, at rest there.
    """

    def __init__(self, lag: FloatArray, timeout: float = 0.25, memory: int = 256) -> None:
        self._lag = np.array(lag, np.float64)
        if self._lag.ndim != 1 or not (self._lag > 0.0).all():
            raise SignalError(f"lag is {self._lag.tolist()}: one number > 0 a joint is needed")
        self._timeout = nanoseconds(timeout)
        # Stamp, joints and command of each, in plain numbers: for a few joints the quickest.
        self._past: deque[Entry] = deque(maxlen=memory)
        # The last span [ns] and its gain: commands come at one rate.
        self._gain: tuple[int, list[float]] = (0, [0.0] * len(self._lag))

    def reset(self) -> None:
        """Forget the past: the arm was moved by other means."""
        self._past.clear()

    def on_command(self, stamp: int, positions: FloatArray) -> None:
        """Count a command [joints] rad of the trajectory clock [ns]; one not finite is skipped.

        A stamp that does not rise is skipped, too, unless the clock was set back.
        """
        given = np.asarray(positions, np.float64)
        if given.shape != self._lag.shape:
            raise SignalError(f"{given.size} joints are commanded, the lag is of {self._lag.size}")
        if not square(given) <= LARGEST_SQUARE:
            return
        command: list[float] = given.tolist()
        last: Entry | None = self._past[-1] if self._past else None
        if last is not None and abs(stamp - last[0]) > self._timeout:
            self._past.clear()
            last = None
        if last is None:
            self._past.append((stamp, command, command))
        elif stamp > last[0]:
            self._past.append((stamp, self._after(last, stamp), command))

    def predict(self, stamp: int) -> FloatArray | None:
        """Joints [joints] rad expected at that time [ns]; None where it can't be told."""
        for entry in reversed(self._past):
            if entry[0] <= stamp:
                known = stamp - entry[0] <= self._timeout
                return np.array(self._after(entry, stamp)) if known else None
        return None

    def _after(self, entry: Entry, stamp: int) -> list[float]:
        time, state, command = entry
        span, gain = self._gain
        if stamp - time != span:
            gain = (-np.expm1(-seconds(stamp - time) / self._lag)).tolist()
            self._gain = stamp - time, gain
        return [state[j] + gain[j] * (command[j] - state[j]) for j in range(len(state))]


def predict_joints(
    lag: FloatArray,
    command_stamps: list[int],
    commands: FloatArray,
    stamps: list[int],
    timeout: float = 0.25,
) -> FloatArray:
    """The model's predictions [T, joints] at stamps [T] of a recording; NaN where unknown.

    command_stamps [N] ns, commands [N, joints] rad, both lists of stamps ascending.
    """
    model = LagModel(lag, timeout, memory=2)
    predicted = np.full((len(stamps), np.size(lag)), np.nan)
    upcoming = 0
    for row, stamp in enumerate(stamps):
        while upcoming < len(command_stamps) and command_stamps[upcoming] <= stamp:
            model.on_command(command_stamps[upcoming], commands[upcoming])
            upcoming += 1
        joints = model.predict(stamp)
        if joints is not None:
            predicted[row] = joints
    return predicted
