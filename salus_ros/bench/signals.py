"""What the 12 signals cost a step, and whether all forms give the same numbers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from salus_ros.interfaces import ActionDistribution, FloatArray
from salus_ros.signals.batch import BatchSignalExtractor
from salus_ros.signals.calibration import Calibration, fit_latents
from salus_ros.signals.config import Normalisation, SignalConfig
from salus_ros.signals.extractor import SignalExtractor
from salus_ros.signals.layout import ALL_VALID, SignalVector
from salus_ros.signals.recording import Recording, recording_signals

LATENT_WIDTH = 960
DIMS, JOINTS = 8, 7
COMPONENTS = 32
WARM_UP = 200
BOUNDS_US = {"p50": 30.0, "p99": 60.0}
_SCHEDULERS = {os.SCHED_OTHER: "default", os.SCHED_FIFO: "fifo", os.SCHED_RR: "round robin"}


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A recording with a latent at each of its T steps, as a policy in use gives them."""

    actions: FloatArray
    latents: FloatArray
    joints: FloatArray
    predicted: FloatArray
    distributions: tuple[ActionDistribution, ...]

    @classmethod
    def random(cls, steps: int, seed: int = 0) -> Course:
        """Walks of actions and joints, latents around a mean."""
        rng = np.random.default_rng(seed)
        actions = np.cumsum(rng.normal(scale=0.02, size=(steps, DIMS)), axis=0)
        joints = np.cumsum(rng.normal(scale=0.005, size=(steps, JOINTS)), axis=0)
        latents = rng.normal(size=LATENT_WIDTH) + rng.normal(size=(steps, LATENT_WIDTH))
        spread = rng.random((steps, 2))
        return cls(
            actions=actions,
            latents=latents,
            joints=joints,
            predicted=joints + rng.normal(scale=0.002, size=joints.shape),
            distributions=tuple(ActionDistribution(8, float(e), float(p)) for e, p in spread),
        )


def bench_config() -> SignalConfig:
    """Normalised actions of seven joints and a gripper, with limits."""
    return SignalConfig(
        action_dims=DIMS,
        normalisation=Normalisation.of_range(np.full(DIMS, -2.0), np.full(DIMS, 2.0)),
        joint_low=np.full(JOINTS, -2.9),
        joint_high=np.full(JOINTS, 2.9),
    )


def bench_calibration() -> Calibration:
    """Latents of the same kind as a course's."""
    latents = np.random.default_rng(1).normal(size=(500, LATENT_WIDTH))
    return Calibration("bench", *fit_latents(latents, COMPONENTS))


def measure(steps: int, rounds: int, on_round: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Times on one core, in microseconds a step; the median over rounds of each percentile.

    step_us and its kin are wall time: on a machine that does other work too, their tail is how long
    the process waited for its core. step_cpu_us is the same steps' time on the core.
    """
    course, config, calibration = Course.random(steps), bench_config(), bench_calibration()
    forms: dict[str, Callable[[], list[float]]] = {
        "step_us": lambda: _step_times(course, config, calibration, 1),
        "step_cpu_us": lambda: _step_times(course, config, calibration, 1, time.thread_time_ns),
        "step_uncalibrated_us": lambda: _step_times(course, config, None, 1),
        "step_of_ten_a_chunk_us": lambda: _step_times(course, config, calibration, 10),
    }
    result: dict[str, Any] = {"latent_width": LATENT_WIDTH, "steps": steps, "rounds": rounds}
    with one_core() as core:
        for name, times in forms.items():
            quantiles = []
            for _ in range(rounds):
                quantiles.append(np.percentile(times(), [50, 99, 99.9]))
                on_round()
            p50, p99, p999 = np.median(quantiles, axis=0)
            result[name] = {"p50": round(p50, 2), "p99": round(p99, 2), "p99.9": round(p999, 2)}
        result["recording_cpu_us_a_step"] = round(_recording_time(course, config, calibration), 2)
        result["batch_cpu_us_a_step"] = round(_batch_time(course, config, calibration), 2)
    result["core"] = core
    result["scheduler"] = _SCHEDULERS.get(os.sched_getscheduler(0), "other")
    result["load_average"] = round(os.getloadavg()[0], 2)
    return result | agreement(course, config, calibration) | {"bounds_us": BOUNDS_US}


@contextmanager
def one_core() -> Iterator[int]:
    """Keep this process on one core meanwhile: the last it may use."""
    allowed = os.sched_getaffinity(0)
    core = max(allowed)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, allowed)


def _step_times(
    course: Course,
    config: SignalConfig,
    calibration: Calibration | None,
    chunk: int,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> list[float]:
    """Time [us] of each step, a new chunk's latent taken over at every `chunk`-th."""
    extractor = SignalExtractor(config, calibration)
    times = []
    for t in range(len(course.actions)):
        started = clock()
        if t % chunk == 0:
            extractor.on_chunk(course.latents[t], course.distributions[t], "bench", "")
        extractor.step(course.actions[t], course.joints[t], course.predicted[t])
        times.append((clock() - started) / 1000.0)
    return times[WARM_UP:]


def stepwise(course: Course, config: SignalConfig, calibration: Calibration) -> list[SignalVector]:
    """One vector a step."""
    extractor = SignalExtractor(config, calibration)
    vectors = []
    for t in range(len(course.actions)):
        extractor.on_chunk(course.latents[t], course.distributions[t], "bench", "")
        vectors.append(extractor.step(course.actions[t], course.joints[t], course.predicted[t]))
    return vectors


def _recording(course: Course) -> Recording:
    return Recording(
        actions=course.actions,
        chunk_of_step=np.arange(len(course.actions)),
        latents=course.latents,
        distributions=course.distributions,
        joints=course.joints,
        predicted_joints=course.predicted,
    )


def _recording_time(course: Course, config: SignalConfig, calibration: Calibration) -> float:
    recording = _recording(course)
    started = time.thread_time_ns()
    recording_signals(config, recording, calibration)
    return (time.thread_time_ns() - started) / 1000.0 / len(course.actions)


def _batch_time(
    course: Course, config: SignalConfig, calibration: Calibration, streams: int = 64
) -> float:
    """A step of one of many streams in step with each other."""
    batch = BatchSignalExtractor(config, streams, LATENT_WIDTH, calibration)
    steps = len(course.actions) // streams
    started = time.thread_time_ns()
    for t in range(steps):
        rows = slice(t * streams, (t + 1) * streams)
        batch.on_chunks(course.latents[rows])
        batch.step(course.actions[rows], course.joints[rows], course.predicted[rows])
    return (time.thread_time_ns() - started) / 1000.0 / (steps * streams)


def agreement(course: Course, config: SignalConfig, calibration: Calibration) -> dict[str, Any]:
    """How far the whole-recording form is from the stepwise one, relative above 1, and validity."""
    vectors = stepwise(course, config, calibration)
    values, valid = recording_signals(config, _recording(course), calibration)
    expected = np.stack([v.values for v in vectors]).astype(np.float64)
    difference = np.abs(values - expected) / np.maximum(1.0, np.abs(expected))
    return {
        "recording_largest_difference": float(difference.max()),
        "same_validity": bool((valid == [v.valid for v in vectors]).all()),
        "all_valid_from_step": int(np.argmax([v.valid == ALL_VALID for v in vectors])),
    }
