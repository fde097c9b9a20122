"""Why a reader cannot be started."""


class ServingError(Exception):
    """The reader cannot be started; the message says why."""
