"""What the reports of studies share: tables and figures of an HTML page, intervals as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


def html_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of plain text."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><tr>{top}</tr>{body}</table>"


def html_figures(figures: Sequence[Any]) -> list[str]:
    """plotly figures as parts of one page that needs no network. ImportError without plotly."""
    from plotly.io import to_html  # noqa: PLC0415 - only a report needs plotly

    # The first figure carries the library, about 5 MB.
    return [
        to_html(figure, full_html=False, include_plotlyjs=number == 0)
        for number, figure in enumerate(figures)
    ]


def interval_text(told: Mapping[str, Any], undefined: str = "not defined") -> str:
    """`value`, `low` and `high` of an estimate; a value of None is undefined."""
    if told["value"] is None:
        return undefined
    return f"{told['value']:.3f} [{told['low']:.3f}, {told['high']:.3f}]"
