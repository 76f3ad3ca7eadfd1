"""Errors of the detectors."""

from __future__ import annotations


class DetectorError(ValueError):
    """Data or a calibration that can't be used; one line that says what to do."""
