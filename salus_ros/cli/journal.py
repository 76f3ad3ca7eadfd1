"""`salus journal`: what the safety supervisor did, and whether the record of it is whole."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from salus_ros.cli.errors import FAILED, USAGE, UserError
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json

if TYPE_CHECKING:
    from salus_ros.supervision.journal.reading import Entry, Summary

app = typer.Typer(
    help="What the safety supervisor did: its journal on disk.",
    no_args_is_help=True,
    add_completion=False,
)
_MODES = ("INACTIVE", "NOMINAL", "LIMITED", "SLOW", "HOLD", "STOP", "ESTOP")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

JournalPath = Annotated[Path, typer.Argument(help="The journal's folder, or one of its files.")]


@app.command()
def verify(
    path: JournalPath,
    head: Annotated[str, typer.Option(help="A hash that was the newest once (published).")] = "",
    key: Annotated[Path | None, typer.Option(help="File with the key of the HMACs.")] = None,
) -> None:
    """Find every changed, missing, inserted or reordered line; with --head, a cut tail, too.

    Example: salus journal verify ~/.local/state/salus/journal/domain-0/safety_supervisor

    Exit code: 0 where the journal is intact, 1 where it isn't or there is none.
    """
    from salus_ros.supervision.journal.errors import JournalError
    from salus_ros.supervision.journal.key import load_key
    from salus_ros.supervision.journal.verification import verify as verify_journal

    if head and not re.fullmatch(r"[0-9a-f]{64}", head):
        raise UserError(f"--head {head!r} is no SHA-256: give its 64 hexadecimal digits", USAGE)
    try:
        result = verify_journal(path, head, None if key is None else load_key(key))
    except JournalError as error:
        raise UserError(str(error)) from error
    for problem in result.problems:
        typer.echo(str(problem))
    text = f"{result.lines} lines in {result.files} files"
    if result.deleted:
        text += f", after {result.deleted} lines that the journal itself deleted"
    if result.keyed and key is None:
        text += ", HMACs not checked: give --key"
    if not result.intact:
        typer.echo(f"not intact: {len(result.problems)} problems; {text}")
        raise typer.Exit(FAILED)
    typer.echo(f"intact: {text}; head: line {result.head.sequence}, {result.head.hash}")


@app.command()
def show(
    path: JournalPath,
    reason: Annotated[str, typer.Option(help="Only entries with this cause.")] = "",
    since: Annotated[
        str, typer.Option(help="Only from then on: 2026-05-01T12:00, or 90s, 10m, 2h, 1d ago.")
    ] = "",
    mode: Annotated[str, typer.Option(help="Only entries that begin or end in this mode.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest; 0: all.")] = 0,
    json_file: JsonFile = "",
) -> None:
    """Show the entries, oldest first.

    Example: salus journal show FOLDER --mode STOP --since 1h
    """
    from salus_ros.supervision.journal.reading import Entries, matching

    mode = mode.upper()
    if mode and mode not in _MODES:
        raise UserError(f"--mode {mode} is none of {', '.join(_MODES)}", USAGE)
    entries = Entries(path)
    found = _read(matching(entries, reason, _wall_time(since), mode))[-limit:]
    console = Console(stderr=json_file == "-")
    if json_file:
        write_json(json_file, {"entries": found, "unreadable": entries.unreadable})
    else:
        console.print(_entry_table(found))
    _warn_unreadable(console, entries.unreadable)


@app.command()
def report(path: JournalPath, json_file: JsonFile = "") -> None:
    """Sum up: entries by reason, worst values and detector scores, time in each mode.

    Example: salus journal report FOLDER --json report.json
    """
    from salus_ros.supervision.journal.errors import JournalError
    from salus_ros.supervision.journal.reading import Entries, summarize

    entries = Entries(path)
    try:
        summary = summarize(entries)
    except JournalError as error:
        raise UserError(str(error)) from error
    console = Console(stderr=json_file == "-")
    for table in _summary_tables(summary):
        console.print(table)
    if json_file:
        write_json(json_file, {**summary.to_json(), "unreadable": entries.unreadable})
    _warn_unreadable(console, entries.unreadable)


def _read(entries: Any) -> list[Entry]:
    from salus_ros.supervision.journal.errors import JournalError

    try:
        return list(entries)
    except JournalError as error:
        raise UserError(str(error)) from error


def _warn_unreadable(console: Console, count: int) -> None:
    if count:
        console.print(f"{count} lines can't be read: run salus journal verify", style="yellow")


def _wall_time(text: str) -> int:
    """Nanoseconds since 1970 of a time, or of so long ago; raises UserError."""
    if not text:
        return 0
    ago = re.fullmatch(r"(\d{1,6})([smhd])", text)
    try:
        if ago:
            then = datetime.now(timezone.utc) - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        else:
            then = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        text = f"--since {text!r} is no time: give 2026-05-01T12:00, or 90s, 10m, 2h, 1d"
        raise UserError(text, USAGE) from error
    return round(then.timestamp() * 1e6) * 1000


def _time_text(wall: object) -> str:
    from salus_ros.supervision.journal.reading import whole

    try:
        moment = datetime.fromtimestamp(whole(wall) / 1e9)
    except (ValueError, OverflowError, OSError):
        return "?"
    return moment.isoformat(sep=" ", timespec="milliseconds")


def _entry_table(entries: list[Entry]) -> Table:
    table = Table()
    for name in ("line", "time", "mode", "value / bound"):
        table.add_column(name, no_wrap=name in ("line", "time"))
    table.add_column("what", min_width=20, overflow="fold")
    for entry in entries:
        cells = (
            str(entry.get("sequence")),
            _time_text(entry.get("wall")),
            _mode_text(entry),
            _judged_text(entry),
            _what_text(entry),
        )
        table.add_row(*(_plain(cell) for cell in cells))
    return table


def _plain(text: str) -> str:
    """Names come from strangers' messages: none may be markup or send commands to the terminal."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else "?" for c in text))


def _mode_text(entry: Entry) -> str:
    before, after = entry.get("mode_before"), entry.get("mode_after")
    if after is None:
        return ""
    return str(after) if before == after else f"{before} → {after}"


def _judged_text(entry: Entry) -> str:
    worst, bound = entry.get("worst"), entry.get("bound")
    value = _value_text(entry.get("value") if worst is None else worst)
    return value if bound is None else f"{value} / {_value_text(bound)}"


def _what_text(entry: Entry) -> str:
    kind = f"{entry['kind']} of " if entry.get("kind") in ("begin", "end") else ""
    text = f"{kind}{entry.get('reason', '')}: {entry.get('message', '')}"
    left_out = entry.get("left_out")
    return f"({left_out} left out before) {text}" if left_out else text


def _value_text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value or "")


def _summary_tables(summary: Summary) -> list[Table]:
    first, last = _time_text(summary.first_wall), _time_text(summary.last_wall)
    title = f"{summary.interventions} interventions, {summary.left_out} left out, {first} to {last}"
    reasons = Table("reason", "entries", "worst value", "bound", title=title)
    for reason, count in summary.reasons.most_common():
        value, bound = summary.worst.get(reason, (None, None))
        reasons.add_row(_plain(reason), str(count), _value_text(value), _value_text(bound))
    modes = Table("mode", "seconds", title=f"time in each mode, {summary.sessions} sessions")
    for mode in sorted(summary.modes, key=lambda m: _MODES.index(m) if m in _MODES else -1):
        modes.add_row(_plain(mode), f"{summary.modes[mode]:.1f}")
    tables = [reasons, modes]
    if summary.detectors:
        detectors = Table("detector", "worst score", title="detectors")
        for name, score in sorted(summary.detectors.items()):
            detectors.add_row(_plain(name), f"{score:.4g}")
        tables.append(detectors)
    return tables
