"""Kinds of bag, apart from what writes them: the command line names them at each start."""

from __future__ import annotations

from enum import Enum


class Storage(str, Enum):
    """File formats of rosbag2."""

    MCAP = "mcap"
    SQLITE3 = "sqlite3"
