"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True)
class Finding:
    """One check: level "ok", "warning" (works, but less well) or "error", and what to do."""

    check: str
    level: str
    detail: str
    remedy: str = ""
