"""`salus bench all` and `salus bench report`: every result file, and the tables made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from salus_ros.cli.errors import UserError


def everything(
    out: Annotated[Path, typer.Option(help="Folder of the result files.")] = Path("results"),
    only: Annotated[
        list[str] | None, typer.Option(help="Name of a result file; may be repeated.")
    ] = None,
    droid: Annotated[Path | None, typer.Option(exists=True, help="Recorded real episodes.")] = None,
    demonstrations: Annotated[
        Path | None, typer.Option(exists=True, help="Data set of `salus record demos`.")
    ] = None,
) -> None:
    """Run every benchmark, one after the other; one JSON each with hardware, versions, commit.

    Some four hours on two cores. A benchmark that fails leaves its older file as it was.

    Example: salus bench all --out results/

    Exit code: 0 where all ran; 1 where one failed. Those that need data which isn't given are left
    out, which is said.
    """
    from salus_ros.bench.everything import ALL, run

    console = Console()
    names = [bench.file.removesuffix(".json") for bench in ALL]
    wanted = [name.removesuffix(".json") for name in only or names]
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise UserError(f"no benchmark '{unknown[0]}'; there are: {', '.join(names)}")
    data = {"droid": droid, "demonstrations": demonstrations, "": Path()}
    chosen = [bench for bench in ALL if bench.file.removesuffix(".json") in wanted]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror}") from error
    failed = []
    with Progress(console=console) as progress:
        bar = progress.add_task("", total=sum(bench.minutes for bench in chosen))
        for bench in chosen:
            progress.update(bar, description=bench.command)
            given = data[bench.needs]
            if given is None:
                console.print(f"{bench.file}: left out, needs --{bench.needs}")
            else:
                problem = run(bench, out, str(given))
                console.print(f"{bench.file}: {problem or 'written'}")
                failed += [bench.file] * bool(problem)
            progress.advance(bar, bench.minutes)
    if failed:
        raise UserError(f"failed: {', '.join(failed)}")


def report(
    root: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder with README.md and docs/.")
    ] = Path(),
    check: Annotated[
        bool, typer.Option("--check", help="Only say which pages are out of date.")
    ] = False,
) -> None:
    """Make the tables of README and docs from the files in results/.

    Between `<!-- results:begin -->` and `<!-- results:end -->`; all else stays as it is.

    Example: salus bench report

    Exit code: 0; 1 where --check finds a page that is out of date.
    """
    from salus_ros.bench.pages import pages

    try:
        made = pages(root)
    except (OSError, ValueError) as error:
        raise UserError(f"the pages can't be made: {error}") from error
    stale = [file for file, text in made.items() if file.read_text() != text]
    if check and stale:
        raise UserError(
            f"out of date: {', '.join(str(f) for f in stale)}: run `salus bench report`"
        )
    for file in stale:
        file.write_text(made[file])
        typer.echo(f"wrote {file}")
