"""`salus`: the command line. One file a sub-command; each works without the others' packages."""

from __future__ import annotations

import os
import sys

import typer

from salus_ros import __version__
from salus_ros.cli import (
    bench,
    bench_all,
    bench_quantization,
    bench_replay,
    bench_sampler,
    calibrate,
    compile,
    demo,
    doctor,
    evaluate,
    evaluate_chunking,
    evaluate_early_exit,
    evaluate_gating,
    evaluate_policy,
    evaluate_predictor,
    evaluate_staleness,
    journal,
    record,
    record_demos,
    replay,
    top,
    train,
    train_early_exit,
    train_predictor,
    up,
)
from salus_ros.cli.errors import UserError

app = typer.Typer(
    help="Vision-language-action policies on robot arms, fast and supervised.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(name="doctor")(doctor.doctor)
app.command(name="demo")(demo.demo)
app.command(name="up")(up.up)
app.command(name="top")(top.top)
app.command(name="replay")(replay.replay)
app.command(name="compile")(compile.compile_policy)
bench.app.command(name="all")(bench_all.everything)
bench.app.command(name="report")(bench_all.report)
bench.app.command(name="quantization")(bench_quantization.quantization)
bench.app.command(name="sampler")(bench_sampler.sampler)
bench.app.command(name="replay")(bench_replay.replay)
bench.app.command(name="replay-batch")(bench_replay.replay_batch)
app.add_typer(bench.app, name="bench")
evaluate.app.command(name="early-exit")(evaluate_early_exit.early_exit)
evaluate.app.command(name="chunking")(evaluate_chunking.chunking)
evaluate.app.command(name="policy")(evaluate_policy.policy)
evaluate.app.command(name="gating")(evaluate_gating.gating)
evaluate.app.command(name="predictor")(evaluate_predictor.predictor)
evaluate.app.command(name="staleness")(evaluate_staleness.staleness)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(calibrate.app, name="calibrate")
app.add_typer(journal.app, name="journal")
record.app.command(name="demos")(record_demos.demos)
app.add_typer(record.app, name="record")
train.app.command(name="early-exit")(train_early_exit.early_exit)
train.app.command(name="predictor")(train_predictor.predictor)
app.add_typer(train.app, name="train")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"salus {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    pass


def main() -> None:
    """Entry point. An expected error is one line on stderr; SALUS_TRACEBACK=1 shows where from."""
    try:
        app()
    except UserError as error:
        if os.environ.get("SALUS_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
