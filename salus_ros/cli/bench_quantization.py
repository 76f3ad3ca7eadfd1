"""`salus bench quantization`: what low-bit weights bring here."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from salus_ros.cli.errors import UserError
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json


def quantization(
    json_file: JsonFile = "",
    device: Annotated[str, typer.Option(help="cpu or cuda; empty: CUDA where there is one.")] = "",
    inputs: Annotated[int, typer.Option(min=2, help="Noises that errors are taken over.")] = 8,
    calls: Annotated[int, typer.Option(min=5, help="Timed calls in each process.")] = 20,
    processes: Annotated[int, typer.Option(min=1, help="Processes of each precision.")] = 3,
) -> None:
    """Footprint, action error and latency of the reference expert (25.5 M) in every precision.

    This package's int8 and int4 kernels, torchao's, bfloat16 and float32.

    Example: salus bench quantization --json quantization.json
    """
    try:
        from salus_ros.bench import quantization as bench
        from salus_ros.bench.sampler import use_device
        from salus_ros.deploy.measure import Plan
    except ImportError as error:
        raise UserError(f"this needs more packages ({error}): run make build") from error
    from salus_ros.bench.provenance import provenance

    console = Console(stderr=json_file == "-")
    with console.status("measuring") as status:
        try:
            device = use_device(device)
        except ValueError as error:
            raise UserError(str(error)) from error
        content = bench.measure(device, inputs, Plan(calls, processes), status.update)
    console.print(_table(content))
    if json_file:
        command = f"salus bench quantization --device {device} --inputs {inputs} "
        command += f"--calls {calls} --processes {processes}"
        told = {"benchmark": "quantization", "command": command}
        write_json(json_file, {**told, **content, **provenance(device)})


def _table(content: dict[str, Any]) -> Table:
    table = Table("precision", "MB", "x smaller than bf16", "action error", "p50 ms", "range")
    table.title = f"reference expert, {content['device']}"
    for name, row in content["precisions"].items():
        if "problem" in row:
            table.add_row(name, row["problem"])
            continue
        low, high = row["latency_p50_range"]
        table.add_row(
            name,
            f"{row['weights_mb']:.2f}",
            f"{row['times_smaller']:.2f}",
            f"{row['action_error']:.2%}",
            f"{row['latency_p50']:.0f}",
            f"{low:.0f} to {high:.0f}",
        )
    return table
