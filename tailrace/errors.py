"""The errors of the command line itself."""

from pathlib import Path


class CommandError(Exception):
    """A command that cannot do what was asked; the message says why and what would work."""


class UnexpectedError(Exception):
    """An error that nobody foresaw, with what it is about as far as can be found, and the log of it if one was written."""

    def __init__(self, message: str, *, log: Path | None) -> None:
        super().__init__(message)
        self.log = log
