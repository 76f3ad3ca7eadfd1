"""A large batch of bags on a real local Dask cluster, one of its workers killed on the way."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from salus_ros.bench.replay import recorded_bags
from salus_ros.replay.bag_reader import read_raw
from salus_ros.replay.bag_result import BagResult, ReplayOptions
from salus_ros.replay.bag_writer import BagWriter
from salus_ros.replay.batch import Answer, Failure, summary
from salus_ros.replay.dask_engine import connected, run_on_dask
from salus_ros.replay.topic import Message

if TYPE_CHECKING:
    from distributed import Client

# Each copy is so long [ns]: enough for the arm to move, short enough for a thousand of them.
LENGTH = 1_500_000_000
# One bag in so many is cut off.
BAD_EVERY = 100


def make_batch(sources: Sequence[Path], folder: Path, count: int) -> tuple[list[Path], int]:
    """`count` bags, copies of the sources' beginnings; how many of them are damaged."""
    short = [_beginning(bag, folder / "sources" / bag.name) for bag in sources]
    bags, bad = [], 0
    for number in range(count):
        bag = folder / "bags" / f"bag_{number:05d}"
        shutil.copytree(short[number % len(short)], bag)
        if number % BAD_EVERY == BAD_EVERY - 1:
            path = next(bag.glob("*.mcap"))
            path.write_bytes(path.read_bytes()[:-1000])
            bad += 1
        bags.append(bag)
    return bags, bad


def _beginning(bag: Path, target: Path) -> Path:
    numbers: dict[str, int] = {}
    messages: list[Message] = []
    raws = read_raw(bag, set)
    with BagWriter(target, compress=True) as writer:
        for raw in raws:
            if raw.time - raws[0].time <= LENGTH:
                if raw.topic not in numbers:
                    numbers[raw.topic] = writer.add_topic(raw.topic, raw.kind)
                messages.append(Message(numbers[raw.topic], raw.time, raw.data))
        writer.append(messages)
    return target


@dataclass
class Killer:
    """Kills a worker once so many bags are done; `killed`: its process id."""

    client: Client
    after: int
    killed: int = 0
    done: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def __call__(self, answer: Answer) -> None:
        """One more bag is done."""
        self.done += 1
        self.seen[answer.bag] += 1
        if self.done >= self.after and not self.killed:
            pids = self.client.run(os.getpid)
            self.killed = int(next(iter(pids.values())))
            os.kill(self.killed, signal.SIGKILL)


def measure(count: int, workers: int, advance: Callable[[], None]) -> dict[str, Any]:
    """Replay `count` bags, kill a worker after a third of them, and count what came back."""
    with TemporaryDirectory(prefix="salus_batch_") as name:
        folder = Path(name)
        sources = recorded_bags(folder / "episodes", 4)
        bags, bad = make_batch(sources, folder, count)
        began = time.perf_counter()
        with connected("", workers) as client:
            killer = Killer(client, max(1, count // 3))

            def told(answer: Answer) -> None:
                killer(answer)
                advance()

            answers = run_on_dask(client, bags, ReplayOptions(), told)
        wall = time.perf_counter() - began
        return _counts(answers, bags, bad, killer) | {
            "workers": workers,
            "wall_seconds": round(wall, 1),
        }


def _counts(
    answers: Sequence[Answer], bags: Sequence[Path], bad: int, killer: Killer
) -> dict[str, Any]:
    good = [answer for answer in answers if isinstance(answer, BagResult)]
    content = summary(answers, ReplayOptions())
    apart = content["differences"]
    return {
        "bags": len(bags),
        "damaged_on_purpose": bad,
        "replayed": content["bags_replayed"],
        "failed": content["bags_failed"],
        "told_once_each": all(killer.seen[str(bag)] == 1 for bag in bags),
        "worker_killed_after": killer.after,
        "worker_killed": bool(killer.killed),
        "different_outputs": len({answer.fingerprint for answer in good}),
        "commands_compared": apart["commands_compared"],
        "commands_identical": apart["commands_identical"],
        "counts_exact": len(good) == len(bags) - bad
        and sum(isinstance(answer, Failure) for answer in answers) == bad
        and apart["commands_compared"] == sum(a.report["ticks"]["count"] for a in good),
    }
