"""What `salus evaluate supervisor` found, as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def supervisor_tables(content: dict[str, Any]) -> list[Table]:
    """Tables of the studies that were made."""
    tables = [_rows(content)] if content["auc"] else []
    if content["sequences"]:
        tables += [_sequences(content), _false_alarms(content), _by_size(content)]
    return tables


def success_table(found: dict[str, Any]) -> Table:
    """Task success with and without the detectors."""
    table = Table("detectors", "successes", "rate", "95 %", "mean time")
    table.title = "the same undisturbed episodes"
    for name in ("off", "on"):
        share = found[name]
        table.add_row(
            name,
            f"{share['count']} of {share['of']}",
            f"{share['rate']:.4f}",
            _span(share["interval"]),
            f"{found['mean_seconds'][name]:.2f} s",
        )
    held = found["episodes_with_false_hold"]
    table.add_row(
        "false HOLD",
        f"{held['count']} of {held['of']}",
        f"{held['rate']:.4f}",
        _span(held["interval"]),
        "",
    )
    low, high = found["difference_interval"]
    table.caption = (
        f"difference {found['difference']:+.4f}, 95 % {low:+.4f} to {high:+.4f}; "
        f"McNemar's exact p {found['mcnemar_exact_p']:.3g}"
    )
    return table


def _rows(content: dict[str, Any]) -> Table:
    intervals = content["intervals"]
    table = Table("fault", "AUC", "detected", "95 %", title="single rows, cross-validated")
    for kind, area in content["auc"].items():
        rate, interval = content["detection_rate"][kind], intervals["detection_rate"][kind]
        table.add_row(kind, f"{area:.5f}", f"{rate:.4f}", _span(interval))
    false = content["false_positive_rate"]
    table.add_row("false positives", "", f"{false:.4f}", _span(intervals["false_positive_rate"]))
    return table


def _sequences(content: dict[str, Any]) -> Table:
    table = Table("fault", "detected", "95 %", "median delay", "95 % within", "from the start")
    table.title = "episodes that the calibration never saw"
    for name, row in content["sequences"].items():
        standing = content["from_start"].get(name)
        table.add_row(
            name,
            f"{row['detection_rate']:.3f}",
            _span(content["intervals"]["sequences"][name]["detection_rate"]),
            _delay(row["delay_steps_p50"]),
            _delay(row["delay_steps_p95"]),
            "" if standing is None else f"{standing['detection_rate']:.3f}",
        )
    return table


def _false_alarms(content: dict[str, Any]) -> Table:
    table = Table("normal episodes", "with an alarm", "share", "95 %", title="false alarms")
    for name, key in (
        ("not held by the gate", "sequence_false_positives"),
        ("all that succeeded", "false_positives_of_all_successful"),
    ):
        found = content.get(key)
        if found is not None:
            alarms = f"{found['episodes_with_alarm']} of {found['of']}"
            table.add_row(name, alarms, f"{found['rate']:.4f}", _span(found["interval"]))
    return table


def _by_size(content: dict[str, Any]) -> Table:
    table = Table("fault", "size", "detected", title="detection over the size of the fault")
    for name, curve in content["by_size"].items():
        for value, rate in zip(curve["values"], curve["detection_rate"], strict=True):
            table.add_row(name, f"{curve['size']} {value:.3g}", f"{rate:.3f}")
    return table


def _span(interval: list[float] | tuple[float, float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _delay(rows: float | None) -> str:
    return "never" if rows is None else f"{rows:g} rows"
