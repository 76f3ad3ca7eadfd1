"""Tables of docs/compile.md; a result file that isn't there is said to be missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from salus_ros.bench.markdown import table
from salus_ros.deploy.axes import AXES
from salus_ros.deploy.levers import Levers

MOST_ROWS = 12
COLUMNS = ("latency_p50", "latency_p99", "weights_mb", "rmse", "age")


def of_file(name: str, make: Callable[[Any], str]) -> Callable[[Mapping[str, Any]], str]:
    """What a result file says, with its hardware, commit and command; or that it is missing."""

    def block(results: Mapping[str, Any]) -> str:
        if name not in results:
            return f"Not measured yet: no `results/{name}.json`."
        result = results[name]
        where = result["hardware"]
        source = (
            f"`results/{name}.json`: {where['cores']} cores of {where['cpu']}, GPU "
            f"{where.get('gpu') or 'none'}, commit {result['commit']}"
        )
        command = f", `{result['command']}`" if "command" in result else ""
        return f"{source}{command}.\n\n{make(result)}"

    return block


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def _quantization(result: Any) -> str:
    rows = [
        [name, row["problem"], "", "", ""]
        if "problem" in row
        else [
            name,
            f"{row['weights_mb']:.2f}",
            f"{row['times_smaller']:.2f}",
            f"{row['action_error'] * 100:.2f} %",
            f"{_ms(row['latency_p50'])} ({_ms(row['latency_p50_range'][0])} to "
            f"{_ms(row['latency_p50_range'][1])})",
        ]
        for name, row in result["precisions"].items()
    ]
    head = ["precision", "MB", "times smaller than bfloat16", "action error", "p50 ms (processes)"]
    return table(head, rows)


def _name(entry: Any) -> str:
    levers = Levers(**entry["levers"])
    return f"{levers}, horizon {levers.execution_horizon}"


def _value(entry: Any, axis: str) -> str:
    value, interval = entry["axes"][axis], entry["intervals"].get(axis)
    if interval and axis.startswith("latency"):
        return f"{_ms(value)} ({_ms(interval[0])} to {_ms(interval[1])})"
    return f"{value:.4g}"


def _compiled(result: Any) -> str:
    found = result["configurations"]
    head = ["configuration", *(f"{a} {AXES[a].unit}".strip() for a in COLUMNS)]
    picks = []
    for pick in result["picks"]:
        limits = ", ".join(f"{n} {v:g}" for n, v in pick["budget"]["limits"].items())
        label = f"{pick['name']} (least {pick['budget']['minimize']}; {limits})"
        if pick["best"] is None:
            binding = pick["binding"]
            by = f"{binding['axis']} misses {binding['limit']:g} by {binding['by']:.3g}"
            picks.append([label, f"none: {by}", *[""] * len(COLUMNS)])
        else:
            entry = found[pick["best"]]
            picks.append([label, _name(entry), *(_value(entry, a) for a in COLUMNS)])
    order = sorted(result["frontier"], key=lambda i: found[i]["axes"]["action_latency_p50"])
    near = [i for i in order if found[i]["levers"]["execution_horizon"] == 1][:MOST_ROWS]
    edge = [[_name(found[i]), *(_value(found[i], a) for a in COLUMNS)] for i in near]
    measured = sum(not e["left_out"] for e in found)
    left = len(found) - measured
    refused = "yes" if result["gate_refused_a_broken_kernel"] else "not tried"
    return "\n\n".join(
        [
            table(["budget", *head], picks),
            f"{measured} configurations measured with their horizons, {left} left out; "
            f"{len(order)} on the frontier, of which the fastest of horizon 1 are below. The gate "
            f"refused a kernel that was broken on purpose: {refused}.",
            table(head, edge),
        ]
    )


def _verified(result: Any) -> str:
    rows = [
        [file["file"], check["axis"],
         f"{check['interval'][0]:.4g} to {check['interval'][1]:.4g}",
         f"{check['measured']:.4g}", "within" if check["inside"] else "**outside**"]
        for file in result["files"] for check in file["checks"]
    ]  # fmt: skip
    return table(["file", "axis", "stated", "measured again", ""], rows)


def _staleness(result: Any) -> str:
    rows = [
        [
            str(cell["horizon"]),
            f"{cell['delay'] * 1e3:.0f} ms",
            f"{cell['age']:.1f}",
            f"{cell['successes']} of {cell['episodes']}",
            f"{cell['interval'][0] * 100:.1f} to {cell['interval'][1] * 100:.1f} %",
            f"{cell['loss_interval'][0] * 100:+.1f} to {cell['loss_interval'][1] * 100:+.1f} %",
        ]
        for cell in sorted(result["cells"], key=lambda cell: float(cell["age"]))
    ]
    found = result["limit"]
    head = ["horizon", "delay", "age p95, steps", "success", "95 %", "loss, 95 %"]
    return (
        f"{table(head, rows)}\n\nLimit at a margin of {found['margin'] * 100:g} %: age "
        f"{found['age']}, staleness {found['staleness']}."
    )


quantization = of_file("quantization", _quantization)
quantization_gpu = of_file("quantization_h200", _quantization)
flow = of_file("compile_flow", _compiled)
reference = of_file("compile_reference", _compiled)
reference_gpu = of_file("compile_reference_h200", _compiled)
verified = of_file("compile_verify", _verified)
reference_verified = of_file("compile_reference_verify", _verified)
staleness = of_file("staleness", _staleness)
