"""Many bags: each as a whole, those that can't be replayed listed, on all cores."""

from __future__ import annotations

import gc
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from salus_ros.replay.bag_reader import find_bags
from salus_ros.replay.bag_result import BagResult, ReplayOptions, bag_result, replay_bag
from salus_ros.replay.bag_writer import METADATA
from salus_ros.replay.errors import BagError
from salus_ros.replay.measures import Measures
from salus_ros.replay.outcomes import Judged, scores

# Times that a bag is tried whose worker died.
TRIES = 2


@dataclass(frozen=True)
class Failure:
    """A bag that could not be replayed, and why, in one line."""

    bag: str
    problem: str


Answer = BagResult | Failure
Told = Callable[[Answer], None]


def bags_of(paths: Iterable[Path]) -> list[Path]:
    """Bags, and all bags in folders of bags, each once, sorted. Raises BagError."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir() and not (path / METADATA).is_file():
            found |= dict.fromkeys(p for bag in find_bags(path) for p in _bag_or_files(bag))
        elif path.exists():
            found[path] = None
        else:
            raise BagError(f"{path}: no such bag")
    return sorted(found)


def _bag_or_files(folder: Path) -> list[Path]:
    """A bag; a folder of files that no metadata.yaml describes is as many bags."""
    if (folder / METADATA).is_file():
        return [folder]
    return sorted([*folder.glob("*.mcap"), *folder.glob("*.db3")])


def work(bag: Path, options: ReplayOptions) -> Answer:
    """One bag; whatever is wrong with it becomes a Failure."""
    # A bag's objects pile up, and there are no cycles in them to be looked for again and again.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return bag_result(replay_bag(bag, options), options)
    except BagError as error:
        return Failure(str(bag), str(error))
    except Exception as error:  # one bag must not end a batch
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return Failure(str(bag), f"{bag}: {text}: please report this")
    finally:
        if collecting:
            gc.enable()


def run_batch(
    bags: Sequence[Path], options: ReplayOptions, jobs: int = 0, told: Told = lambda _: None
) -> list[Answer]:
    """All bags, in their order. jobs: processes; 0: one for each core."""
    jobs = min(jobs or len(os.sched_getaffinity(0)), len(bags))
    if jobs <= 1:
        return [_telling(work(bag, options), told) for bag in bags]
    answers: dict[Path, Answer] = {}
    left, tries = list(bags), 0
    while left and tries < TRIES:
        tries += 1
        for bag, answer in _in_processes(left, options, jobs):
            answers[bag] = _telling(answer, told)
        left = [bag for bag in bags if bag not in answers]
    for bag in left:
        problem = f"{bag}: its process died {TRIES} times"
        answers[bag] = _telling(Failure(str(bag), problem), told)
    return [answers[bag] for bag in bags]


def _telling(answer: Answer, told: Told) -> Answer:
    told(answer)
    return answer


def _in_processes(
    bags: Sequence[Path], options: ReplayOptions, jobs: int
) -> Iterator[tuple[Path, Answer]]:
    """What comes back; a bag whose process died doesn't."""
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        futures: dict[Future[Answer], Path] = {pool.submit(work, b, options): b for b in bags}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                continue


def summary(answers: Sequence[Answer], options: ReplayOptions) -> dict[str, Any]:
    """The report over all bags: the same for the same bags, configuration and seed."""
    good = [answer for answer in answers if isinstance(answer, BagResult)]
    bad = [answer for answer in answers if isinstance(answer, Failure)]
    pooled, judged = Measures(), list[Judged]()
    for answer in good:
        pooled.add(answer.measures)
        judged += answer.judged
    moments = [{"bag": a.bag, **moment} for a in good for moment in a.report["interventions"]]
    return {
        "fingerprint": _digest([answer.fingerprint for answer in good]),
        "inputs": {
            "fingerprint": _digest([answer.inputs for answer in good]),
            "bags": {answer.bag: answer.inputs["bag"] for answer in good},
            "configurations": sorted({str(a.inputs["configuration"]) for a in good}),
            "weights": _merged(answer.inputs["weights"] for answer in good),
            **options.describe(),
        },
        "bags_replayed": len(good),
        "bags_failed": len(bad),
        "failed": [{"bag": answer.bag, "problem": answer.problem} for answer in bad],
        "scores": {"outcomes": scores(judged, options.seed), **pooled.to_json()},
        "interventions": {
            "by_reason": dict(sorted(pooled.reasons.items())),
            "moments": moments,
        },
        "differences": _differences(good),
        **_comparison(good),
        "bags": [answer.report for answer in good],
    }


def _comparison(good: Sequence[BagResult]) -> dict[str, Any]:
    """Where only one of two configurations stopped the arm, over all bags."""
    compared = [(a.bag, a.report["comparison"]) for a in good if "comparison" in a.report]
    if not compared:
        return {}
    content: dict[str, Any] = {}
    for side in ("stopped_by_first_only", "stopped_by_second_only"):
        content[side] = [{"bag": bag, **stop} for bag, told in compared for stop in told[side]]
    for side in ("first", "second"):
        counts: Counter[str] = Counter()
        for _, told in compared:
            counts.update(told["interventions"][side])
        content[f"interventions_{side}"] = dict(sorted(counts.items()))
    return {"comparison": content}


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _merged(mappings: Iterable[dict[str, str]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for mapping in mappings:
        merged |= mapping
    return dict(sorted(merged.items()))


def _differences(good: Sequence[BagResult]) -> dict[str, Any]:
    """How many bags came out as they were recorded, and the largest differences."""
    commands = [a.report["differences"]["commands"] for a in good]
    acts = [a.report["differences"]["interventions"] for a in good]
    compared = [c for c in commands if c is not None]
    largest: dict[str, float] = {}
    for command in compared:
        for name, values in command["joints"].items():
            largest[name] = max(largest.get(name, 0.0), values["max"])
    return {
        "commands_compared": sum(c["compared"] for c in compared),
        "commands_identical": sum(c["identical_ticks"] for c in compared),
        "bags_with_commands": len(compared),
        "bags_with_identical_commands": sum(c["identical"] for c in compared),
        "largest": largest,
        "bags_with_interventions": sum(a is not None for a in acts),
        "bags_with_identical_interventions": sum(a is not None and a["identical"] for a in acts),
    }
