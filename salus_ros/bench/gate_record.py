"""What a benched node notes while it runs, with as little work as possible, and keeps in a file.

Times are CLOCK_MONOTONIC in nanoseconds, one clock for all processes of a machine. The arrays are
made beforehand: nothing is allocated for a stamp.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CAPACITY = 1 << 20
"""Stamps: 17 minutes at 1000 Hz; what comes later isn't noted."""


class Stamps:
    """Times of one kind of event."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._times = array("q", bytes(8 * capacity))
        self._capacity = capacity
        self.count = 0

    def add(self, time: int) -> None:
        """Note one."""
        if self.count < self._capacity:
            self._times[self.count] = time
            self.count += 1

    def to_list(self) -> list[int]:
        """All, in the order in which they came."""
        return list(self._times[: self.count])


@dataclass
class Recording:
    """A node's run, read back.

    published: when each command went out. own: processor time from the timer's callback to where
    the command is handed to rclpy; publish: of rclpy's publishing it. cpu, wall: processor time and
    time of the whole callback, with both of these and what comes after (under the default scheduler
    a tick may be interrupted: that is no work of its own). ahead: processor time of each piece of
    work ahead, between ticks.
    following: 1 for ticks in which the arm followed a plan. spans: from when to when the node was
    active. chunk_ticks: for each chunk that was followed, which tick after its arrival was the
    first to do so. chunks: that came in. profile: by "tick" or "chunk", then by what was timed, its
    time in each of them [ns]. realtime: under SCHED_FIFO.
    """

    published: list[int]
    own: list[int] = field(default_factory=list)
    publish: list[int] = field(default_factory=list)
    ahead: list[int] = field(default_factory=list)
    cpu: list[int] = field(default_factory=list)
    wall: list[int] = field(default_factory=list)
    following: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    chunk_ticks: list[int] = field(default_factory=list)
    chunks: int = 0
    profile: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    realtime: bool = False

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps(self.__dict__))
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read it back. Raises OSError, or ValueError where it isn't one."""
        content: Mapping[str, Any] = json.loads(path.read_text())
        recording = cls(**content)
        recording.spans = [(begin, end) for begin, end in recording.spans]
        return recording
