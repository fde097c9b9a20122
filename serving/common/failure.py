"""Why a reader cannot be started."""

from tailrace.errors import SetupError


class ServingError(SetupError):
    """The reader cannot be started; the message says why."""
