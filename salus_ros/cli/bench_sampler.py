"""`salus bench sampler`: how long flow steps and whole chunks take."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from salus_ros.cli.errors import UserError
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json


def sampler(
    json_file: JsonFile = "",
    repeats: Annotated[int, typer.Option(min=10, help="Timed calls of each.")] = 200,
    device: Annotated[str, typer.Option(help="cpu or cuda; empty: CUDA where there is one.")] = "",
    compiled: Annotated[
        bool, typer.Option(help="Time torch.compile, too, which takes a minute to compile.")
    ] = True,
) -> None:
    """Time the flow sampler: eager, compiled, and captured as a CUDA graph.

    A reference expert of 25.5 M parameters, the shipped policy's expert, and whole chunks of the
    shipped policy on one core.

    Example: salus bench sampler --json sampler.json
    """
    try:
        from salus_ros.bench import sampler as bench
        from salus_ros.policy.flow.checkpoint import CheckpointError
    except ImportError as error:
        raise UserError(f"the policy needs more packages ({error}): run make build") from error
    from salus_ros.bench.provenance import provenance

    device = bench.use_device(device)
    console = Console(stderr=json_file == "-")
    try:
        with console.status("timing"):
            timings = list(bench.measure(device, repeats, compiled))
            chunk = bench.chunk_latency(repeats)
    except CheckpointError as error:
        raise UserError(str(error)) from error
    table = Table("model", "mode", "p50 ms", "p99 ms", "ms a step", "difference", title=device)
    for t in timings:
        if t.problem:
            table.add_row(t.model, t.mode, t.problem)
            continue
        numbers = (f"{t.p50:.2f}", f"{t.p99:.2f}", f"{t.per_step:.3f}", f"{t.difference:.1e}")
        table.add_row(t.model, t.mode, *numbers)
    console.print(table)
    console.print(f"whole chunk on one core: p50 {chunk['p50_ms']} ms, p99 {chunk['p99_ms']} ms")
    if json_file:
        content = {"device": device, "timings": [asdict(t) for t in timings], "chunk": chunk}
        write_json(json_file, {"benchmark": "sampler", **content, **provenance()})
