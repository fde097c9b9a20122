"""The errors of events and their files."""

from tailrace.errors import DataError


class EventsError(DataError):
    """Anything wrong with events or their files; the message names it and says what to do."""


class WorkspaceError(EventsError):
    """A workspace that cannot be invented; the message names the field."""


class HistoryError(EventsError):
    """A git history that cannot be read; the message names the repository."""


class LandingFileError(EventsError):
    """A file that cannot be read or written; the message names it."""


class NoReadableTimeError(EventsError):
    """No event with a readable time, so no slot can be chosen."""
