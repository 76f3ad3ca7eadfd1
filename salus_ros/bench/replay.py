"""How much faster than real time recordings are replayed, without the model, on one core."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from salus_ros.replay.bag_result import (
    BagResult,
    ReplayOptions,
    bag_result,
    replay_bag,
    settings_of,
)
from salus_ros.replay.batch import Failure, summary, work
from salus_ros.replay.lockstep import replay
from salus_ros.replay.player import STAGES, Through
from salus_ros.replay.recorded_run import read_run
from salus_ros.replay.settings import load_settings
from salus_ros.replay.trace import trace_of
from salus_ros.sim.rollouts import RolloutOptions, collect

POLICY = "scripted_expert"
GOAL = 100.0


def measure(bags: Sequence[Path], rounds: int, advance: Callable[[], None]) -> dict[str, Any]:
    """Replay all bags `rounds` times in this process, held on one core; the best round counts.

    times_real_time: recorded seconds per second on the wall, files read, fingerprints and scores
    included; cpu_times_real_time: per second of the core's time, whatever else it has to do.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        answers, walls, cpus = [], [], []
        work(bags[0], ReplayOptions())  # pays for imports and caches
        for _ in range(rounds):
            began, cpu = time.perf_counter(), time.process_time()
            answers = [_advancing(work(bag, ReplayOptions()), advance) for bag in bags]
            walls.append(time.perf_counter() - began)
            cpus.append(time.process_time() - cpu)
        parts = _parts(bags)
    finally:
        os.sched_setaffinity(0, cores)
    recorded = sum(a.measures.seconds for a in answers if isinstance(a, BagResult))
    content = summary(answers, ReplayOptions())
    return {
        "policy": POLICY,
        "bags": len(bags),
        "failed": [a.problem for a in answers if isinstance(a, Failure)],
        "recorded_seconds": round(recorded, 3),
        "rounds": rounds,
        "times_real_time": round(recorded / min(walls), 2),
        "cpu_times_real_time": round(recorded / min(cpus), 2),
        "goal": GOAL,
        "cpu_ms_a_recorded_second": parts,
        "fingerprint": content["fingerprint"],
        "commands_compared": content["differences"]["commands_compared"],
        "commands_identical": content["differences"]["commands_identical"],
    }


def _advancing(answer: BagResult | Failure, advance: Callable[[], None]) -> BagResult | Failure:
    advance()
    return answer


def _parts(bags: Sequence[Path]) -> dict[str, float]:
    """Where the time goes: the core's milliseconds for each second recorded."""
    gc.disable()  # as `work` does
    try:
        return _timed_parts(bags)
    finally:
        gc.enable()


def _timed_parts(bags: Sequence[Path]) -> dict[str, float]:
    settings = load_settings()
    robot = settings.joint_names, settings.gripper_name, settings.gripper_range
    spent = dict.fromkeys(("reading", *STAGES, "scores_and_differences"), 0.0)
    recorded = 0.0
    for bag in bags:
        clock = _Clock()
        run = read_run(bag, *robot)
        recorded += run.duration
        spent["reading"] += clock.lap()
        trace = trace_of(run)
        used = settings_of(bag, settings, trace)
        clock.lap()
        replay(run, used, Through(True, False, False), trace)
        signals = clock.lap()
        replay(run, used, Through(True, True, False), trace)
        spent["signals"] += signals
        spent["predictor"] += max(0.0, clock.lap() - signals)
        replay(run, used, Through(False, False, True), trace)
        spent["supervisor"] += clock.lap()
        replayed = replay_bag(bag, ReplayOptions())
        clock.lap()
        bag_result(replayed, ReplayOptions())
        spent["scores_and_differences"] += clock.lap()
    return {name: round(1000 * value / recorded, 3) for name, value in spent.items()}


class _Clock:
    """The core's time between two laps [s]."""

    def __init__(self) -> None:
        self._last = time.process_time()

    def lap(self) -> float:
        """Since the last one."""
        now = time.process_time()
        passed, self._last = now - self._last, now
        return passed


def recorded_bags(folder: Path, episodes: int) -> list[Path]:
    """Bags of lock-step episodes, half of them disturbed."""
    options = RolloutOptions(POLICY, disturbances=("block_moved",), nominal_share=0.5)
    collect(options, episodes, folder, 1, lambda *_: None)
    return sorted(path for path in folder.iterdir() if path.is_dir())


def bench(
    bags: Sequence[Path], episodes: int, rounds: int, advance: Callable[[], None]
) -> dict[str, Any]:
    """Measure given bags, or bags of `episodes` that are made for it."""
    if bags:
        return measure(bags, rounds, advance) | {"policy": "as recorded"}
    with TemporaryDirectory(prefix="salus_replay_") as folder:
        return measure(recorded_bags(Path(folder), episodes), rounds, advance)
