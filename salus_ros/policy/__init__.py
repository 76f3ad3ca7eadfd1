"""Policies: backends, chunks, plans."""
