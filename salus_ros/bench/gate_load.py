"""Keeps cores busy: `python -m salus_ros.bench.gate_load CORE`, one process for each core."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from salus_ros.die_with_parent import DIE_WITH_PARENT, die_with_parent_if_asked

SIZE = 256  # rows of the matrices: they fit into a core's own cache, as a small model's layers do


@contextmanager
def busy_cores() -> Iterator[None]:
    """Every core that this process may use multiplies matrices while the block runs."""
    environment = os.environ | {DIE_WITH_PARENT: str(os.getpid()), "OMP_NUM_THREADS": "1"}
    environment |= {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "salus_ros.bench.gate_load"]
    processes = [
        subprocess.Popen([*command, str(core)], env=environment, start_new_session=True)
        for core in sorted(os.sched_getaffinity(0))
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


class IdleClock:
    """Shares of all cores' time since it was made, from /proc/stat."""

    def __init__(self) -> None:
        self._begin = _jiffies()

    def shares(self) -> dict[str, float]:
        """`idle`: nobody's; `steal`: taken by other machines on the same host."""
        passed = [after - before for before, after in zip(self._begin, _jiffies(), strict=True)]
        total = max(sum(passed), 1)
        idle, steal = passed[3] + passed[4], passed[7]
        return {"idle": round(idle / total, 4), "steal": round(steal / total, 4)}


def _jiffies() -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal (proc(5)); zeros where unknown."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return [0] * 8
    return [int(value) for value in first.split()[1:9]]


def main() -> None:
    """Multiply matrices on one core until killed."""
    die_with_parent_if_asked()
    os.sched_setaffinity(0, {int(sys.argv[1])})
    matrix = np.random.default_rng(0).random((SIZE, SIZE)) / SIZE
    product = matrix
    while True:
        product = matrix @ product


if __name__ == "__main__":
    main()
