"""What became of one episode."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EpisodeResult:
    """Outcome of one episode; failure_type empty: none; seconds: its length."""

    instruction: str
    seed: int
    disturbance: str
    success: bool
    failure_type: str
    seconds: float
