"""`salus compile`: a budget in, the Pareto frontier and one configuration out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from salus_ros.cli.compile_view import checks_table, frontier_table, left_out_table
from salus_ros.cli.errors import UserError
from salus_ros.cli.options import JsonFile, ReportFile
from salus_ros.cli.output import write_json, write_report

if TYPE_CHECKING:
    from salus_ros.deploy.axes import Budget
    from salus_ros.deploy.job import Job

DEFAULT_PRESET = "fastest"


def compile_policy(
    policy: Annotated[
        str, typer.Option(help="flow, reference (25.5 M parameters), or a policy's folder.")
    ] = "flow",
    mapping: Annotated[
        str, typer.Option(help="Of a LeRobot policy: file that maps its features to the robot.")
    ] = "",
    minimize: Annotated[str, typer.Option(help="Axis to make as small as can be.")] = "",
    most: Annotated[
        list[str] | None, typer.Option("--max", help="AXIS=VALUE; may be repeated.")
    ] = None,
    least: Annotated[
        list[str] | None, typer.Option("--min", help="AXIS=VALUE, for cosine; may be repeated.")
    ] = None,
    preset: Annotated[
        list[str] | None, typer.Option(help="Preset's name or file; `all`; may be repeated.")
    ] = None,
    lever: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE[,VALUE...]: try only these values; may be repeated."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda; empty: CUDA where there is one.")] = "",
    inputs: Annotated[int, typer.Option(min=2, help="Observations to measure on.")] = 24,
    calls: Annotated[int, typer.Option(min=10, help="Timed calls in each process.")] = 60,
    processes: Annotated[
        int, typer.Option(min=2, max=11, help="Fresh processes that time a configuration.")
    ] = 5,
    staleness_study: Annotated[
        Path | None,
        typer.Option(help="Result of `salus evaluate staleness`: limits the age to what it found."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the policy node; a folder for several presets.")
    ] = None,
    verify: Annotated[
        list[Path] | None,
        typer.Option(help="Instead measure such a file again in a fresh process; repeatable."),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of what was measured before.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure everything anew.")] = False,
    json_file: JsonFile = "",
    report: ReportFile = None,
) -> None:
    """Measure a policy's configurations on this machine, and pick the best one within a budget.

    A search that is interrupted goes on where it was. A configuration whose kernels don't compute
    what its weights say (the parity gate) is never returned.

    Example: salus compile --minimize latency_p50 --max rmse=0.05 --out deploy.yaml

    Exit code: 0 with a configuration for every budget; 1 where a budget can't be met, or a file
    that is verified isn't within its intervals.
    """
    try:
        from salus_ros.deploy import job as work
        from salus_ros.deploy.levers import parse_levers
    except ImportError as error:
        raise UserError(f"compiling needs more packages ({error}): run make build") from error
    console = Console(stderr=json_file == "-")
    try:
        if verify:
            _verify(console, verify, json_file)
            return
        budgets, device = _budgets(preset, minimize, (most or [], least or []), device)
        budgets = work.with_study(budgets, staleness_study)
        job = work.Job(
            policy, device, inputs, calls, processes, parse_levers(lever or []),
            cache or work.cache_folder(), fresh, mapping,
        )  # fmt: skip
        _compile(console, job, budgets, (out, json_file, report))
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error


def _budgets(
    presets: list[str] | None, minimize: str, limits: tuple[list[str], list[str]], device: str
) -> tuple[dict[str, Budget], str]:
    from salus_ros.deploy.axes import make_budget, parse_limits
    from salus_ros.deploy.levers import CompileError
    from salus_ros.deploy.presets import preset_budget, preset_names, read_preset

    own = parse_limits(*limits)
    if minimize:
        if presets:
            raise CompileError("give either --minimize or --preset")
        return {"own": make_budget(minimize, own)}, device
    names = presets or [DEFAULT_PRESET]
    names = preset_names() if names == ["all"] else names
    contents = {name: read_preset(name) for name in names}
    devices = {str(c["device"]) for c in contents.values() if "device" in c}
    if devices and device and devices != {device}:
        raise CompileError(f"a preset is for device {min(devices - {device})}, not for {device}")
    if len(devices) > 1:
        raise CompileError(f"presets are for devices {', '.join(sorted(devices))}: take one each")
    budgets = {}
    for name, content in contents.items():
        limits_of = {**(content.get("limits") or {}), **own}
        budgets[name] = preset_budget({**content, "limits": limits_of})
    return budgets, device or (devices.pop() if devices else "")


def _compile(
    console: Console,
    job: Job,
    budgets: dict[str, Budget],
    files: tuple[Path | None, str, Path | None],
) -> None:
    from salus_ros.deploy.machine import busy
    from salus_ros.deploy.report import binding_text, name_of
    from salus_ros.deploy.report import write_report as write

    out, json_file, report = files
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("preparing", total=None)
        content = job.run(
            budgets,
            lambda what, done, of: progress.update(bar, description=what, completed=done, total=of),
        )
    found = content["configurations"]
    warning = busy(content["load_average"], content["hardware"]["cores"])
    if warning:
        console.print(f"[yellow]{warning}")
    console.print(frontier_table(content))
    console.print(left_out_table(content))
    missed = []
    for pick in content["picks"]:
        if pick["best"] is None:
            missed.append(f"{pick['name']}: {binding_text(pick['binding'], found)}")
        else:
            console.print(f"{pick['name']}: {name_of(found[pick['best']])}")
    if out is not None:
        _write(console, content, job, out)
    if json_file:
        write_json(json_file, content)
    if report is not None:
        write_report(report, partial(write, report, content))
    if missed:
        raise UserError("no configuration within budget " + "; ".join(missed))


def _write(console: Console, content: dict[str, Any], job: Job, out: Path) -> None:
    from salus_ros.deploy.deployment import write_deployment

    several = len(content["picks"]) > 1
    try:
        if several:
            out.mkdir(parents=True, exist_ok=True)
        for pick in content["picks"]:
            if pick["best"] is None:
                continue
            file = out / f"{Path(pick['name']).stem}.yaml" if several else out
            write_deployment(file, job.deployment(content, pick))
            console.print(f"wrote {file}")
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror}") from error


def _verify(console: Console, files: list[Path], json_file: str) -> None:
    from salus_ros.bench.provenance import provenance
    from salus_ros.deploy.deployment import read_deployment
    from salus_ros.deploy.machine import busy, load_average
    from salus_ros.deploy.verify import subject_of, verify

    found: list[dict[str, Any]] = []
    device = "cpu"
    for file in files:
        deployment = read_deployment(file)
        device = deployment.device
        warning = deployment.other_hardware()
        for said in (warning, busy(load_average(), int(deployment.hardware["cores"]))):
            if said:
                console.print(f"[yellow]{file}: {said}")
        with console.status(f"measuring {file}"):
            checks, parity = verify(deployment, subject_of(deployment))
        console.print(checks_table(str(file), checks, parity))
        rows = [
            {"axis": c.axis, "interval": [c.low, c.high], "measured": c.measured,
             "inside": c.inside} for c in checks
        ]  # fmt: skip
        found.append(
            {"file": file.name, "levers": dict(deployment.levers), "policy": deployment.policy,
             "checks": rows, "parity": parity, "other_hardware": warning}
        )  # fmt: skip
    if json_file:
        write_json(
            json_file, {"benchmark": "compile --verify", "files": found, **provenance(device)}
        )
    outside = [
        f"{f['file']}: {c['axis']} is {c['measured']:.4g}, stated {c['interval'][0]:.4g} to "
        f"{c['interval'][1]:.4g}" for f in found for c in f["checks"] if not c["inside"]
    ]  # fmt: skip
    outside += [f"{f['file']}: fails the parity gate" for f in found if not f["parity"]]
    if outside:
        raise UserError("not as stated: " + "; ".join(outside))
