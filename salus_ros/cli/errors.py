"""Errors of the command line."""

from __future__ import annotations

# Exit codes; 0 is success, 2 also typer's for a wrong command line.
FAILED = 1
USAGE = 2
INTERRUPTED = 130


class UserError(Exception):
    """Something that the user can do about; the message is one line that says what."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code
