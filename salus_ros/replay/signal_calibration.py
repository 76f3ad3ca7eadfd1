"""A calibration of the signals from bags of normal operation: latents, action range, joint lag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from salus_ros.interfaces import NANOSECONDS, FloatArray
from salus_ros.nodes import topics
from salus_ros.prediction.episodes import RecordedEpisode, Recordings
from salus_ros.replay.bag_reader import Received, read_bag
from salus_ros.replay.errors import BagError
from salus_ros.signals.calibration import Calibration, fit_latents
from salus_ros.signals.lag import fit_lag
from salus_ros.signals.layout import SignalError

# More latents hardly move mean and covariance, and the decomposition's cost is theirs.
MOST_LATENTS = 20_000
# The lag is the median over so many recordings.
LAG_RECORDINGS = 20
# A dimension's range counts as at least this part of the widest one's: one that stood still in the
# recordings must not make every later motion of it a great one.
LEAST_SPAN = 0.1
# The lag is fitted between such gaps in commands or joint states [s].
LONGEST_GAP = 0.1


@dataclass(frozen=True, slots=True)
class CalibrationSource:
    """What a calibration was made from: counts, and why what is missing in it is missing."""

    episodes: int
    left_out: int
    latents: int
    lag_recordings: int
    notes: tuple[str, ...]


def calibrate(
    recordings: Recordings, robot: str, components: int = 32
) -> tuple[Calibration, CalibrationSource]:
    """From the undisturbed successes among recordings. Raises SignalError where they won't do."""
    usual = [e for e in recordings.episodes if e.success and not e.failed and not e.disturbance]
    if not usual:
        raise SignalError(
            f"none of {len(recordings.episodes)} episodes is an undisturbed success: record some"
        )
    notes = []
    latents = _latents(usual)
    nothing: FloatArray = np.empty(0)
    mean, whitening = fit_latents(latents, components) if latents.size else (nothing, nothing)
    if not latents.size:
        notes.append("no latents: ood_distance will use a running estimate")
    lags = _lags(usual)
    if not lags:
        notes.append("no usable commands and joint states: execution_mismatch will be invalid")
    low, high = _action_range(usual)
    calibration = Calibration(
        robot=robot,
        latent_mean=mean,
        latent_whitening=whitening,
        lag_seconds=np.median(lags, axis=0) if lags else np.empty(0),
        action_low=low,
        action_high=high,
    )
    left_out = len(recordings.episodes) - len(usual) + len(recordings.skipped)
    source = CalibrationSource(len(usual), left_out, len(latents), len(lags), tuple(notes))
    return calibration, source


def _latents(episodes: Sequence[RecordedEpisode]) -> FloatArray:
    """[n, width], evenly drawn where they are too many; [0, 0] where there are none."""
    rows = [e.chunks.latents for e in episodes if e.chunks.latents.size]
    widths = {part.shape[1] for part in rows}
    if len(widths) > 1:
        raise SignalError(f"latents of {sorted(widths)} values: calibrate each policy by itself")
    if not rows:
        return np.empty((0, 0))
    latents = np.concatenate(rows).astype(np.float64)
    latents = latents[np.isfinite(latents).all(axis=1)]
    if len(latents) > MOST_LATENTS:
        latents = latents[np.linspace(0, len(latents) - 1, MOST_LATENTS).astype(int)]
    return latents


def _action_range(episodes: Sequence[RecordedEpisode]) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest planned value of each dimension, widened where it hardly moved."""
    plans = [e.chunks.plans.reshape(-1, e.chunks.plans.shape[-1]) for e in episodes]
    low = np.min([np.nanmin(part, axis=0) for part in plans], axis=0)
    high = np.max([np.nanmax(part, axis=0) for part in plans], axis=0)
    span = high - low
    if not np.isfinite(span).all() or not span.max() > 0.0:
        raise SignalError(f"actions span {span.tolist()}: record a policy that moves the arm")
    missing = np.maximum(0.0, LEAST_SPAN * span.max() - span) / 2.0
    return low - missing, high + missing


def _lags(episodes: Sequence[RecordedEpisode]) -> list[FloatArray]:
    """Time constants [joints] of each recording that tells them."""
    lags: list[FloatArray] = []
    bags = dict.fromkeys(Path(e.source.partition("#")[0]) for e in episodes)
    for bag in list(bags)[:LAG_RECORDINGS]:
        try:
            lags.append(fit_lag(*_courses(bag)))
        except (BagError, SignalError):
            continue  # One that tells nothing; that all do so is noted.
    return lags


def _courses(bag: Path) -> tuple[FloatArray, FloatArray, float]:
    """Commands in force and measured joints [n, joints] at the same times, dt [s] apart."""
    wanted = (topics.JOINT_COMMANDS, topics.JOINT_STATES, topics.ACTION_CHUNK)
    received = read_bag(bag, wanted, wanted)
    names = next(r.message.joint_names for r in received if r.topic == topics.ACTION_CHUNK)
    sent, commands = _course(received, topics.JOINT_COMMANDS, names)
    seen, joints = _course(received, topics.JOINT_STATES, names)
    dt = float(np.median(np.diff(seen)))
    grid = np.arange(*_longest_span(sent, seen), dt)
    in_force = np.searchsorted(sent, grid, side="right") - 1
    columns = [np.interp(grid, seen, column) for column in joints.T]
    return commands[in_force], np.stack(columns, axis=1), dt


def _course(
    received: Sequence[Received], topic: str, names: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """Times [n] s, rising, and positions [n, joints] rad of a topic of joint states."""
    messages = [r.message for r in received if r.topic == topic]
    order = {name: place for place, name in enumerate(messages[0].name)}
    try:
        places = [order[name] for name in names]
        rows = np.array([m.position[places] for m in messages], np.float64)
    except (KeyError, IndexError, ValueError) as error:
        raise BagError(f"{topic} is of other joints ({error})") from None
    times = np.array([m.header.stamp.sec + m.header.stamp.nanosec / NANOSECONDS for m in messages])
    rising = np.concatenate([[True], np.diff(times) > 0])
    return times[rising], rows[rising]


def _longest_span(sent: FloatArray, seen: FloatArray) -> tuple[float, float]:
    """Begin and end [s] of the longest time without a gap in either stream."""
    begin, end = max(sent[0], seen[0]), min(sent[-1], seen[-1])
    gaps = [(begin, begin), (end, end)]
    for times in (sent, seen):
        after = np.flatnonzero(np.diff(times) > LONGEST_GAP)
        gaps += [(float(times[i]), float(times[i + 1])) for i in after]
    gaps.sort()
    spans = [(first[1], second[0]) for first, second in pairwise(gaps)]
    return max(spans, key=lambda span: span[1] - span[0])
