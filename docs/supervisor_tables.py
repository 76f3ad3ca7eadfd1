"""Writes the generated parts of docs/supervisor.md: `python docs/supervisor_tables.py`.

Parameters come from the node itself, figures from the files in results/. A test fails where the
page is out of date.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from salus_ros.bench.markdown import filled, parameter_table, table
from salus_ros.nodes.safety_supervisor import PARAMETERS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "supervisor.md"
RESULTS = ROOT / "results"
GATE_COLUMNS = (
    "Periods are the supervisor's / the bare node's; processor times p50 / p99. A tick's own work "
    "ends where its command is serialized; the whole tick is that, publishing and what comes "
    "after. What is worked out ahead, between ticks, is in none."
)


def measured_tables(results: Path = RESULTS) -> str:
    """What the result files say; a file that isn't there has no table."""
    parts = [
        make(json.loads(path.read_text()), path.name)
        for name, make in (("gate_bench.json", _gate), ("journal_full_disk.json", _journal))
        if (path := results / name).is_file()
    ]
    return "\n\n".join(parts)


def _source(result: Any, file: str, command: str) -> str:
    hardware = result["hardware"]
    return (
        f"`{command}`, `results/{file}`: {hardware['cores']} cores of {hardware['cpu']}, "
        f"{hardware['system']}, commit {result['commit']}."
    )


def _gate(result: Any, file: str) -> str:
    """Periods, ratios and the tick's own work."""
    head = ["setting", "p99 ms", "p99.9 ms", "max ms", "p99 ratio"]
    head += ["tick's own work µs", "publishing µs", "whole tick µs", "ahead µs"]
    rows = [
        _gate_row(f"{rate.removesuffix('hz')} Hz, {scheduler}", found)
        for scheduler, figures in result["schedulers"].items()
        for rate, found in figures["rates"].items()
    ]
    idle = result["idle_cores"]
    rows.append(_gate_row("{rate} Hz, {scheduler}, cores not kept busy".format(**idle), idle))
    bounds = [
        [b["name"], "none" if b["value"] is None else f"{b['value']:.4g}", f"{b['bound']:g}",
         "met" if b["met"] else "**missed**"]
        for b in result["bounds"]
    ]  # fmt: skip
    parts = [_source(result, file, result["command"]), GATE_COLUMNS, table(head, rows)]
    parts += [table([f"a {group}: what", "p50 µs", "p99 µs"], _profile_rows(by_name))
              for group, by_name in result["tick_us"]["by_check"].items()]  # fmt: skip
    return "\n\n".join([*parts, table(["bound", "measured", "at most", ""], bounds)])


def _gate_row(setting: str, found: Any) -> list[str]:
    ours, bare = found["period_ms"]["supervisor"], found["period_ms"]["bare"]
    periods = [f"{ours[q]:.2f} / {bare[q]:.2f}" for q in ("p99", "p999", "max")]
    kinds = ("tick_us", "publish_us", "tick_whole_us", "work_ahead_us")
    times = [f"{found[kind]['p50']:.0f} / {found[kind]['p99']:.0f}" for kind in kinds]
    return [setting, *periods, f"{found['ratios']['p99']:.3f}", *times]


def _profile_rows(by_name: Any) -> list[list[str]]:
    ordered = sorted(by_name.items(), key=lambda item: -item[1]["p50"])
    return [[name, f"{f['p50']:.1f}", f"{f['p99']:.1f}"] for name, f in ordered]


def _journal(result: Any, file: str) -> str:
    """What became of each record."""
    rows = [
        ["records", result["records"]],
        ["written", result["written"]],
        ["left out, and counted in the chain", result["left_out_and_counted"]],
        ["lost silently", result["lost_silently"]],
        ["disk full for [s]", result["seconds_disk_full"]],
        ["handing over a record, p99 [µs]", f"{result['feed_us']['p99']:.1f}"],
        ["the same while the disk is full [µs]", f"{result['feed_us_while_full']['p99']:.1f}"],
        ["chain intact", "yes" if result["intact"] else "no"],
    ]
    text = [[str(cell) for cell in row] for row in rows]
    return "\n\n".join([_source(result, file, result["command"]), table(["journal", ""], text)])


def generated(page: str) -> str:
    """The page with both parts as they should be. Raises ValueError where one has no place."""
    for mark, text in (
        ("parameters", parameter_table(PARAMETERS)),
        ("measured", measured_tables()),
    ):
        page = filled(page, mark, text, PAGE.name)
    return page


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text()))
