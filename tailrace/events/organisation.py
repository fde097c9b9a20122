"""An invented organisation: teams that work on documents in folders, and what they did there, from a seed."""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from tailrace.events import activity, catalogue
from tailrace.events.files import WorkspaceError
from tailrace.schemas.slots import EPOCH, to_micros

DAILY_EVENTS_PER_DOCUMENT = 0.25


@dataclass(frozen=True, kw_only=True)
class Organisation:
    """How much to invent; all events lie in (end - days, end]. `events_per_day` is 0.25 per document unless given."""

    documents: int
    actors: int
    days: int
    seed: int
    end: datetime
    events_per_day: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "end" and not (field.name == "events_per_day" and value is None):
                _check_whole(field.name, value, least=0 if field.name == "seed" else 1)
        _check_end(self.end, days=self.days)

    @property
    def events(self) -> int:
        """The number of different events."""
        if self.events_per_day is not None:
            return self.days * self.events_per_day
        return max(1, int(self.days * self.documents * DAILY_EVENTS_PER_DOCUMENT))


def generate(organisation: Organisation) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Invent the documents and the events of an organisation, always the same for equal ones.

    Events are sorted by (time, event_id). About 0.5 % of them stand there twice, as connectors resend.
    """
    end = to_micros(organisation.end)
    start = to_micros(organisation.end - timedelta(days=organisation.days))
    key = (organisation.seed, organisation.documents, organisation.actors)
    documents = catalogue.invent_catalogue(organisation.documents, actors=organisation.actors, key=key)
    happened = activity.invent_activity(
        documents, events=organisation.events, start=start, end=end, key=(*key, start, end)
    )
    return documents.rows(updated=happened.updated), happened.rows(documents)


def _check_whole(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise WorkspaceError(f"workspace: {name} is {value!r}; give a whole number of at least {least}")


def _check_end(end: datetime, *, days: int) -> None:
    if end.utcoffset() != timedelta(0):
        raise WorkspaceError(f"workspace: end is {end!r}; give a time with tzinfo=UTC")
    if (end - EPOCH).days < days:
        raise WorkspaceError(f"workspace: days is {days}, which begins before 1970; give at most {(end - EPOCH).days}")
