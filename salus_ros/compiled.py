"""Modules that mypyc compiled: of the sources beside them, or none is imported.

A compiled module is imported instead of its source, so a change of the source alone would have no
effect. `setup.py` leaves the hashes of what it compiled; `check` compares them. SALUS_INTERPRETED=1
imports the sources, as they are, whatever was compiled.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

PACKAGE = Path(__file__).parent
RECORD = PACKAGE / "compiled.json"
INTERPRETED = os.environ.get("SALUS_INTERPRETED") == "1"


def check() -> None:
    """Raise ImportError, one line, where a source is another than its module was compiled of."""
    if INTERPRETED:
        sys.path_hooks.insert(0, _sources_only)
        return
    if not RECORD.exists():
        return
    for name, digest in json.loads(RECORD.read_text()).items():
        source = PACKAGE.parent / name
        if hashlib.sha256(source.read_bytes()).hexdigest() != digest:
            raise ImportError(
                f"{source} has changed since it was compiled: run `make build`, or set "
                "SALUS_INTERPRETED=1 to run the sources as they are"
            )


def modules() -> int:
    """How many modules run compiled."""
    if INTERPRETED or not RECORD.exists():
        return 0
    return len(json.loads(RECORD.read_text()))


def _sources_only(path: str) -> FileFinder:
    """Finds no compiled modules in this package's folders."""
    if not Path(path).is_relative_to(PACKAGE):
        raise ImportError(f"{path} is not of this package")
    return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))
