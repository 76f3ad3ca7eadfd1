"""When the next inference must start."""

from __future__ import annotations


def start_time(plan_end: int, horizon_end: int, latency: int, margin: int) -> int:
    """Latest start of the next inference [ns].

    plan_end: when the last row of the plan is due. horizon_end: when the rows that the policy means
    to be executed before its next chunk will have been. latency: that of the next inference, as
    estimated. margin: what the caller may be late by. The chunk then arrives before the plan runs
    dry, whatever the horizon says; a time in the past means at once.
    """
    return min(plan_end, horizon_end) - latency - margin
