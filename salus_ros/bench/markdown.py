"""Generated parts of Markdown pages: tables, and what stands between two marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

UNITS = {40: "TiB", 30: "GiB", 20: "MiB", 10: "KiB"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Head, rule and rows."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def filled(page: str, mark: str, text: str, name: str) -> str:
    """The page of that name with the text between `<!-- mark:begin -->` and its end.

    Raises ValueError where the page has no such marks.
    """
    begin, end = f"<!-- {mark}:begin -->\n", f"<!-- {mark}:end -->"
    before, there, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not there or not closed:
        raise ValueError(f"{name} has no {begin.strip()} with its end")
    return f"{before}{begin}{text}\n{end}{after}"


def parameter_table(parameters: Iterable[Any]) -> str:
    """One row for each parameter of a node (`nodes.parameters.Parameter`)."""
    rows = [
        [f"`{p.name}`", _value(p.default), _range(p), "yes" if p.tunable else "", p.description]
        for p in parameters
    ]
    return table(["parameter", "default", "range", "tunable", "what it does"], rows)


def _range(parameter: Any) -> str:
    if parameter.choices:
        return ", ".join(f"`{choice}`" if choice else "empty" for choice in parameter.choices)
    if parameter.minimum is None and parameter.maximum is None:
        return ""
    return f"{_value(parameter.minimum)} to {_value(parameter.maximum)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(f"`{item}`" for item in value)
    if isinstance(value, str):
        return f"`{value}`" if value else "empty"
    if isinstance(value, int):
        return _whole(value)
    return f"{value:g}"


def _whole(value: int) -> str:
    for power, unit in UNITS.items():
        if value >= 1 << 16 and value % (1 << power) == 0:
            return f"{value >> power} {unit}"
    return str(value)
