"""The errors that the supervision library raises, each with a message of one line."""

from __future__ import annotations


class LimitsError(ValueError):
    """A limits file, a URDF or a configuration that can't be used; says the value and what to do.

    Missing limits are an error: nothing here ever means "unlimited".
    """


class GateRefusal(RuntimeError):  # noqa: N818 - an answer to a request, not a programming error
    """The gate refuses to be activated; says why in one line."""
