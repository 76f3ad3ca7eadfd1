"""`salus record rollouts`: a data set of lock-step episodes of a policy, one bag each."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from salus_ros.bench.provenance import provenance
from salus_ros.cli.errors import INTERRUPTED, USAGE, UserError
from salus_ros.cli.options import JsonFile, json_options
from salus_ros.cli.output import write_json
from salus_ros.cli.processes import interrupt_on_signals
from salus_ros.replay.storage import Storage


def rollouts(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of the data set.")],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes that it shall have.")] = 100,
    policy: Annotated[str, typer.Option(help="Policy.")] = "scripted_expert",
    policy_options: Annotated[
        str, typer.Option(help='Options of the policy, JSON: \'{"checkpoint": "flow.pt"}\'.')
    ] = "{}",
    seed: Annotated[int, typer.Option(min=0, max=2000, help="Seed of the data set.")] = 0,
    disturbance: Annotated[
        list[str] | None, typer.Option(help="Disturbance, more than once; all: every one.")
    ] = None,
    nominal_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Part of the episodes without a disturbance.")
    ] = 0.4,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")] = 0,
    images: Annotated[
        int, typer.Option(min=0, help="Record images of every so manieth inference; 0: none.")
    ] = 0,
    storage: Annotated[Storage, typer.Option(help="File format of the bags.")] = Storage.MCAP,
    calibration: Annotated[
        str, typer.Option(help="Calibration of the signals; empty: the parameter file's.")
    ] = "",
    json_file: JsonFile = "",
) -> None:
    """Run episodes in lock-step and record each, with its outcome; run again to go on.

    Episodes go through seeds, the eight instructions, and the disturbances with onset and
    magnitude drawn from the seed. The same options give the same data set.

    Example: salus record rollouts --episodes 600 --disturbance all --out rollouts/

    Exit code: 0 where all episodes are there, 1 where that failed, 2 for a wrong option, 130 after
    Ctrl-C; what was recorded until then stays.
    """
    from salus_ros.sim.rollouts import RolloutOptions, collect, write_manifest

    names = _disturbances(disturbance or [])
    _check_policy(policy)
    options = RolloutOptions(
        policy=policy,
        seed=seed,
        disturbances=names,
        nominal_share=nominal_share,
        policy_options=json_options(policy_options),
        images=images,
        storage=storage,
        calibration=calibration,
    )
    console = Console(stderr=json_file == "-")
    interrupt_on_signals()
    started = time.monotonic()
    with _progress(console) as progress:
        task = progress.add_task("episodes", total=episodes, failures=0)
        told = _Told(progress, task)
        try:
            entries = collect(options, episodes, out, jobs or _cores(), told.episode)
        except KeyboardInterrupt:
            console.print(f"interrupted: {told.count} of {episodes} are in {out}; run again")
            raise typer.Exit(INTERRUPTED) from None
        except (ValueError, OSError) as error:
            raise UserError(str(error)) from error
    wall = time.monotonic() - started
    summary = summarise(entries) | {
        "recorded_now": told.recorded,
        "wall_seconds": round(wall, 1),
        "times_real_time": round(told.seconds / wall, 1),
    }
    write_manifest(out, options, entries, **summary, **provenance())
    console.print(_table(entries))
    if json_file:
        write_json(json_file, {"folder": str(out), **options.describe(), **summary, **provenance()})


class _Told:
    """Counts episodes as they come, and shows them."""

    def __init__(self, progress: Progress, task: Any) -> None:
        self._progress, self._task = progress, task
        self.count = self.recorded = self._failures = 0
        self.seconds = 0.0

    def episode(self, entry: dict[str, Any], was_there: bool) -> None:
        """One episode is there."""
        self.count += 1
        self._failures += bool(entry["failure_type"])
        if not was_there:
            self.recorded += 1
            self.seconds += entry["end"]
        self._progress.update(self._task, advance=1, failures=self._failures)


def summarise(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of a data set: a failure is one also where the policy recovered from it."""
    failures = Counter(e["failure_type"] for e in entries if e["failure_type"])
    return {
        "episodes": len(entries),
        "successes": sum(e["success"] for e in entries),
        "failures": sum(failures.values()),
        "unsuccessful": sum(not e["success"] for e in entries),
        "failures_by_type": dict(sorted(failures.items())),
        "recovered": sum(bool(e["failure_type"]) and e["success"] for e in entries),
    }


def _disturbances(names: Sequence[str]) -> tuple[str, ...]:
    from salus_ros.sim.rollout_plan import named_disturbances

    try:
        return named_disturbances(names)
    except ValueError as error:
        raise UserError(str(error), USAGE) from error


def _check_policy(name: str) -> None:
    from salus_ros.policy.registry import BACKEND_NAMES

    if name not in BACKEND_NAMES:
        raise UserError(f"unknown policy '{name}'; known: {', '.join(BACKEND_NAMES)}", USAGE)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _progress(console: Console) -> Progress:
    failures = TextColumn("{task.fields[failures]} failures")
    return Progress(
        *Progress.get_default_columns()[:-1],
        MofNCompleteColumn(),
        failures,
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _table(entries: Sequence[dict[str, Any]]) -> Table:
    types = sorted({e["failure_type"] for e in entries} - {""})
    table = Table("disturbance", "episodes", "successes", *types)
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        drawn = entry["disturbance"]
        groups.setdefault(drawn["name"] if drawn else "none", []).append(entry)
    for name, group in sorted(groups.items()):
        counts = Counter(e["failure_type"] for e in group)
        row = [f"{counts[kind]}" for kind in types]
        table.add_row(name, f"{len(group)}", f"{sum(e['success'] for e in group)}", *row)
    return table
