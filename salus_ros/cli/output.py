"""Results for machines."""

from __future__ import annotations

import json
import sys
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
