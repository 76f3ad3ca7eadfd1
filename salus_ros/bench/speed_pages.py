"""Tables of docs/policy.md and docs/lerobot.md: how fast samplers are, on a CPU and on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salus_ros.bench.compile_pages import of_file
from salus_ros.bench.markdown import table


def by_case(result: Any) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """Timings by model and precision, then by mode; without those that gave no figure."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in result["timings"]:
        if not row["problem"]:
            found.setdefault((row["model"], row["precision"]), {})[row["mode"]] = row
    return found


def _sampler(result: Any) -> str:
    rows = []
    for (model, precision), modes in by_case(result).items():
        eager = modes.get("eager", {"p50": None})["p50"]
        for mode, row in modes.items():
            reading = row["of_reading"]
            rows.append([
                model, precision, mode, f"{row['per_step']:.3f}",
                f"{eager / row['p50']:.2f}" if eager else "", f"{row['difference']:.1e}",
                "" if row["replay_difference"] is None else f"{row['replay_difference']:g}",
                "" if row["growth"] is None else str(row["growth"]),
                "" if reading is None else f"{reading:.0f}",
            ])  # fmt: skip
    head = ["model", "type", "mode", "ms a step", "x eager", "largest difference from eager",
            "of a replay from the same kernels", "bytes of growth",
            "x reading the weights once"]  # fmt: skip
    chunks = [
        f"{chunk['precision']} p50 {chunk['p50_ms']:.2f} ms, p99 {chunk['p99_ms']:.2f} ms"
        for chunk in result["chunks"]
    ]
    whole = f"A whole chunk of the shipped policy, 8 samples included: {'; '.join(chunks)}."
    return f"{table(head, rows)}\n\n{whole}"


def _smolvla(result: Any) -> str:
    rows = [
        [
            row["size"],
            row["precision"],
            row["way"],
            str(row["samples"]),
            f"{row['median_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
            f"{row['times_stock']:.2f}",
            f"{row['largest_difference']:.0e}",
        ]
        for row in result["timings"]
    ]
    head = ["size", "type", "way", "samples", "median ms", "p99 ms", "x LeRobot's own",
            "largest difference"]  # fmt: skip
    return table(head, rows)


sampler_cpu, sampler_gpu = (of_file(f"bench_sampler{end}", _sampler) for end in ("", "_h200"))
smolvla_cpu, smolvla_gpu = (of_file(f"smolvla_{end}", _smolvla) for end in ("cpu", "h200"))
