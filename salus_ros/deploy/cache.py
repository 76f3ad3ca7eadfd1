"""Measurements that are kept: one file for each hardware, code, versions, weights and plan."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salus_ros.deploy.levers import Levers


def cache_folder() -> Path:
    """~/.cache/salus/compile, or where XDG_CACHE_HOME says."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "salus" / "compile"


class Cache:
    """Lines of JSON, appended as they are measured; what can't be read is measured again."""

    def __init__(self, folder: Path, key: Mapping[str, Any], fresh: bool = False) -> None:
        """key: all that a measurement depends on but the levers. fresh: forget what is there.

        Raises OSError where the folder can't be written.
        """
        text = json.dumps(key, sort_keys=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.jsonl"
        self._known: dict[str, dict[str, Any]] = {}
        if fresh:
            self._file.unlink(missing_ok=True)
        if not self._file.exists():
            self._file.write_text(json.dumps({"key": key}) + "\n")
        for line in self._file.read_text().splitlines()[1:]:
            self._read(line)

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self._known[entry["name"]] = entry["result"]
        except (ValueError, KeyError, TypeError):
            return  # cut off by an interruption

    def get(self, stage: str, levers: Levers) -> dict[str, Any] | None:
        """What was measured; None: nothing yet."""
        return self._known.get(_name(stage, levers))

    def put(self, stage: str, levers: Levers, result: dict[str, Any]) -> None:
        """Keep it."""
        name = _name(stage, levers)
        self._known[name] = result
        with self._file.open("a") as file:
            file.write(json.dumps({"name": name, "result": result}) + "\n")

    def __len__(self) -> int:
        return len(self._known)


def _name(stage: str, levers: Levers) -> str:
    return f"{stage}: {json.dumps(levers.without_horizon().to_json(), sort_keys=True)}"
