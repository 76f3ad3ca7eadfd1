"""What goes wrong with bags."""

from __future__ import annotations


class BagError(ValueError):
    """A bag that can't be written, read or used, in one line that says what to do."""

    def __init__(self, message: object) -> None:
        super().__init__(" ".join(str(message).split()))
