"""The safety gate: limits, motion, checks, modes."""
