"""Results for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from salus_ros.cli.errors import UserError


def write_json(destination: str, content: dict[str, Any]) -> None:
    """Write JSON to a file, or to standard output for "-". Raises UserError."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if destination == "-":
        sys.stdout.write(text)
        return
    try:
        Path(destination).write_text(text)
    except OSError as error:
        raise UserError(f"can't write {destination}: {error.strerror}") from error


def write_report(file: Path, write: Callable[[], None]) -> None:
    """Have a page written, for which plotly is needed. Raises UserError."""
    try:
        write()
    except ModuleNotFoundError as error:
        raise UserError("the report needs plotly: pip install plotly") from error
    except OSError as error:
        raise UserError(f"can't write {file}: {error.strerror}") from error
