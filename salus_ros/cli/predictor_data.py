"""What `salus train predictor` and `salus evaluate predictor` share: episodes in, tables out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.errors import UserError

if TYPE_CHECKING:
    from salus_ros.prediction.episodes import RecordedEpisode
    from salus_ros.prediction.splits import Splits

MOST_REASONS = 8


def read_episodes(folders: Sequence[Path], console: Console) -> list[RecordedEpisode]:
    """Episodes of all bags in these folders; what is skipped is said, with the reason."""
    try:
        from salus_ros.replay.recordings import read_recordings
    except ImportError as error:
        raise UserError(f"reading bags needs more packages ({error}): run make build") from error
    from salus_ros.replay.errors import BagError

    episodes: list[RecordedEpisode] = []
    skipped: list[tuple[str, str]] = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("reading bags", total=None)
        for folder in folders:
            try:
                found = read_recordings(
                    folder,
                    on_bag=lambda done, total: progress.update(task, completed=done, total=total),
                )
            except (BagError, OSError) as error:
                raise UserError(str(error)) from error
            episodes += found.episodes
            skipped += found.skipped
    tell_skipped(skipped, console)
    if not episodes:
        raise UserError(
            f"no usable episode in {', '.join(map(str, folders))}: record some "
            "(salus record rollouts)"
        )
    return episodes


def tell_skipped(skipped: Sequence[tuple[str, str]], console: Console) -> None:
    """One line for each of the first, and how many there were."""
    for name, reason in skipped[:MOST_REASONS]:
        line = reason if name in reason else f"{name}: {reason}"
        console.print(f"skipped {line}", style="yellow", highlight=False, soft_wrap=True)
    if len(skipped) > MOST_REASONS:
        console.print(f"skipped {len(skipped)} in all", style="yellow", highlight=False)


def split_table(splits: Splits) -> Table:
    """How many episodes each purpose has."""
    table = Table("split", "episodes", "successes", "failures", "of which", title="episodes")
    for name, group in splits.by_name().items():
        kinds = Counter(e.failure_type for e in group if e.failed)
        failures = sum(kinds.values())
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        table.add_row(name, str(len(group)), str(len(group) - failures), str(failures), told)
    return table
