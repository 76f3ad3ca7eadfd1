"""`salus bench sampler`: how long flow steps and whole chunks take."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from salus_ros.cli.errors import USAGE, UserError
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json

if TYPE_CHECKING:
    from salus_ros.bench.sampler import Timing


def sampler(
    json_file: JsonFile = "",
    repeats: Annotated[int, typer.Option(min=10, help="Timed calls of each.")] = 200,
    device: Annotated[str, typer.Option(help="cpu or cuda; empty: CUDA where there is one.")] = "",
    precision: Annotated[str, typer.Option(help="float32 or bfloat16; empty: all.")] = "",
    modes: Annotated[
        str, typer.Option(help="Of eager, traced, compiled, max-autotune, captured, fused.")
    ] = "",
) -> None:
    """Time the flow sampler: eager, compiled, and captured as a CUDA graph.

    A reference expert of 25.5 M parameters, the shipped policy's expert, and whole chunks of the
    shipped policy. On CUDA in bfloat16 as well; a CPU works on one core.

    Example: salus bench sampler --json sampler.json
    """
    try:
        from salus_ros.bench import sampler as bench
        from salus_ros.policy.flow.checkpoint import CheckpointError
    except ImportError as error:
        raise UserError(f"the policy needs more packages ({error}): run make build") from error
    from salus_ros.bench.provenance import provenance

    _chosen(device, tuple(bench.PRECISIONS))
    try:
        device = bench.use_device(device)
    except ValueError as error:
        raise UserError(str(error), USAGE) from error
    console = Console(stderr=json_file == "-")
    precisions = _chosen(precision, bench.PRECISIONS[device])
    chosen = _chosen(modes, bench.MODES)
    timings: list[bench.Timing] = []
    try:
        with console.status("timing") as status:
            speed = bench.bandwidth(device)
            for name in precisions:
                for timing in bench.measure(device, name, chosen, repeats, speed):
                    status.update(f"timed {timing.model}, {timing.precision}, {timing.mode}")
                    timings.append(timing)
            chunks = [bench.chunk_latency(device, name, repeats) for name in precisions]
    except (CheckpointError, bench.OutOfMemory) as error:
        raise UserError(str(error)) from error
    console.print(_table(device, timings))
    for chunk in chunks:
        where = "one core" if device == "cpu" else f"{device}, {chunk['precision']}"
        console.print(f"whole chunk, {where}: p50 {chunk['p50_ms']} ms, p99 {chunk['p99_ms']} ms")
    if json_file:
        rows = [asdict(timing) for timing in timings]
        command = f"salus bench sampler --device {device} --precision {','.join(precisions)} "
        command += f"--modes {','.join(chosen)} --repeats {repeats}"
        content = {"device": device, "bytes_a_second": speed, "timings": rows, "chunks": chunks}
        told = {"benchmark": "sampler", "command": command}
        write_json(json_file, {**told, **content, **provenance(device)})


def _chosen(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip()) or known
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"'{unknown[0]}' is not of {', '.join(known)}", USAGE)
    return names


def _table(device: str, timings: list[Timing]) -> Table:
    table = Table(title=device)
    for name in ("model", "type", "mode", "p50 ms", "p99 ms", "ms a step", "x eager", "apart"):
        table.add_column(name)
    eager = {(t.model, t.precision): t.p50 for t in timings if t.mode == "eager"}
    for t in timings:
        if t.problem:
            table.add_row(t.model, t.precision, t.mode, t.problem)
            continue
        base = eager.get((t.model, t.precision))
        beside = f"{base / t.p50:.2f}" if base else ""
        numbers = (f"{t.p50:.2f}", f"{t.p99:.2f}", f"{t.per_step:.3f}", beside)
        table.add_row(t.model, t.precision, t.mode, *numbers, f"{t.difference:.1e}")
    return table
