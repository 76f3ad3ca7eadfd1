"""Qt's saved states in plain Python: where a window's docks stand, as rqt's perspectives keep it.

The bytes are those of QMainWindow.saveState and saveGeometry and of QSplitter.saveState in Qt 5
(qtbase, src/widgets/widgets/qdockarealayout.cpp and qtoolbararealayout.cpp), compared with a
perspective that rqt itself exported.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

HORIZONTAL, VERTICAL = 1, 2
# rqt adds all docks at the bottom.
BOTTOM = 3
NO_LIMIT = 0xFFFFFF


def window_state(layout: Any, width: int, height: int) -> bytes:
    """State of a window whose docks fill it, in pixels.

    layout: a dock's name, ("tabs", names), or (orientation, [(layout, size), ...]).
    """
    return (
        _numbers(0xFF, 0)
        + b"\xfd"
        + _numbers(1, BOTTOM, width, height)
        + _group(layout)
        + _numbers(width, 0)  # the central widget: none
        + _numbers(4, 4, 8, 8)  # corners: top to top, bottom to bottom
        + b"\xfc"
        + _numbers(1, 3, 1)
        + _text("MinimizedDockWidgetsToolbar")
        + b"\x00"
        + _numbers(0, -1, 0, 0)
    )


def geometry(x: int, y: int, width: int, height: int, screen_width: int = 1920) -> bytes:
    """Place and size of a window on the first screen."""
    place = _numbers(x, y, x + width - 1, y + height - 1)
    head = struct.pack(">IHH", 0x1D9D0CB, 3, 0)
    return head + place + place + _numbers(0) + bytes(2) + _numbers(screen_width) + place


def splitter(sizes: Sequence[int], orientation: int) -> bytes:
    """State of a splitter with parts of these sizes."""
    head = _numbers(0xFF, 1, len(sizes), *sizes)
    return head + b"\x01" + _numbers(-1) + b"\x01" + _numbers(orientation) + b"\x00"


def _group(layout: Any) -> bytes:
    kind, parts = layout
    if kind == "tabs":
        head, parts = b"\xfa" + _numbers(0) + b"\x02", [(name, -1) for name in parts]
    else:
        head = b"\xfc" + bytes([kind])
    return head + _numbers(len(parts)) + b"".join(_part(*part) for part in parts)


def _part(layout: Any, size: int) -> bytes:
    if isinstance(layout, str):
        return b"\xfb" + _text(layout) + b"\x01" + _numbers(0, size, 0, NO_LIMIT)
    return b"\xfc" + _numbers(0, size, 0, NO_LIMIT) + _group(layout)


def _numbers(*values: int) -> bytes:
    return b"".join(struct.pack(">i", value) for value in values)


def _text(text: str) -> bytes:
    raw = text.encode("utf-16-be")
    return struct.pack(">I", len(raw)) + raw
