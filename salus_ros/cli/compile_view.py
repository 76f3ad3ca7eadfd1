"""Tables of `salus compile`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from salus_ros.deploy.verify import Check

MOST_ROWS = 30


def frontier_table(content: Mapping[str, Any]) -> Table:
    """The frontier, the fastest action first; picks are marked."""
    from salus_ros.deploy.report import COLUMNS, name_of

    found = content["configurations"]
    picked = {pick["best"] for pick in content["picks"]}
    order = sorted(content["frontier"], key=lambda i: found[i]["axes"]["action_latency_p50"])
    shown = [i for n, i in enumerate(order) if n < MOST_ROWS or i in picked]
    table = Table("", "configuration", *COLUMNS)
    table.title = f"frontier on this machine's {content['device']}"
    if len(shown) < len(order):
        table.caption = f"{len(order) - len(shown)} more in the report"
    for i in shown:
        values = (f"{found[i]['axes'][axis]:.4g}" for axis in COLUMNS)
        table.add_row("*" if i in picked else "", name_of(found[i]), *values)
    return table


def left_out_table(content: Mapping[str, Any]) -> Table:
    """How many configurations were left out, by reason."""
    reasons = Counter(e["left_out"] for e in content["configurations"] if e["left_out"])
    table = Table("left out", "why")
    for name, why in content["levers_left_out"].items():
        table.add_row(name, Text(why))
    for reason, count in reasons.most_common(MOST_ROWS):
        # As text: errors of others may look like rich's markup.
        table.add_row(f"{count} configuration{'s' * (count > 1)}", Text(reason))
    return table


def checks_table(title: str, checks: Sequence[Check], parity: bool) -> Table:
    """What was stated and what was measured now."""
    table = Table("axis", "stated", "measured", "", title=title)
    for check in checks:
        stated = f"{check.low:.4g} to {check.high:.4g}"
        table.add_row(check.axis, stated, f"{check.measured:.4g}", _yes(check.inside))
    table.add_row("parity gate", "passed", "passed" if parity else "FAILED", _yes(parity))
    return table


def _yes(good: bool) -> str:
    return "within" if good else "OUTSIDE"
