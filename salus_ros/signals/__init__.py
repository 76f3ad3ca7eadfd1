"""The 12 SALUS signals."""
