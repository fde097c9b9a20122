"""An invented organisation: what its teams do, who did what to which document and when, from a seed."""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailrace.events import catalogue
from tailrace.events.catalogue import FOLDERS_PER_TEAM, Catalogue
from tailrace.events.draws import NEVER, Draws, Ints, Lives, invent_lives, times_within, to_texts
from tailrace.events.files import WorkspaceError
from tailrace.schemas.slots import EPOCH, to_micros

TYPES = ("view", "open", "edit", "comment", "share", "join", "create", "delete")
SHARES = np.array([60, 16, 13, 6, 3, 2])  # in percent, of the types before create
EDIT, CREATE, DELETE = TYPES.index("edit"), TYPES.index("create"), TYPES.index("delete")
BY_CLIENT = (TYPES.index("view"), TYPES.index("open"), EDIT)
CLIENTS = ("web", "desktop", "mobile")
TWICE = 0.005  # share of the events that are delivered twice
AFTER_DELETION = 0.03  # chance that something meant for a deleted document happens to it all the same
BY_OWNER = 0.3  # share of the edits
IN_FAVOURITE, IN_TEAM = 0.65, 0.25  # shares of the events; the rest may go anywhere
FAVOURITES = 3  # folders of one actor
DAILY_EVENTS_PER_DOCUMENT = 0.25


@dataclass(frozen=True, kw_only=True, eq=False)
class Activity:
    """Events in columns: a number that identifies each, positions in TYPES, of actors, of documents and in CLIENTS.

    `time` is in microseconds. `updated` has one value per document: the time of its last change.
    """

    number: NDArray[np.uint64]
    type: Ints
    actor: Ints
    document: Ints
    time: Ints
    client: Ints
    updated: Ints

    def rows(self, catalogue: Catalogue) -> list[dict[str, Any]]:
        """The events as they land."""
        actor_ids, document_ids, sources = catalogue.actor_ids, catalogue.document_ids, catalogue.sources
        columns = (self.number, self.type, self.actor, self.document)
        rows: list[dict[str, Any]] = [
            {
                "event_id": f"e{number:016x}",
                "event_type": TYPES[type_],
                "actor_id": actor_ids[actor],
                "document_id": document_ids[document],
                "occurred_at": time,
                "source": sources[document],
            }
            for number, type_, actor, document, time in zip(
                *(column.tolist() for column in columns), to_texts(self.time), strict=True
            )
        ]
        for position in np.flatnonzero(np.isin(self.type, BY_CLIENT)).tolist():
            rows[position]["attributes"] = {"client": CLIENTS[self.client[position]]}
        return rows


def invent_activity(catalogue: Catalogue, *, events: int, start: int, end: int, key: tuple[int, ...]) -> Activity:
    """Invent so many different events in (start, end], sorted by (time, number); some of them stand there twice."""
    draws = Draws("activity", *key, events)
    lives = invent_lives(len(catalogue.place), events=events, start=start, end=end, draws=draws)
    type_, document, time = _comings_and_goings(lives, since=start)
    actor = catalogue.owner[document]
    daily = _daily_work(catalogue, lives, draws, count=events - len(type_), start=start, end=end)
    type_, actor, document, time = (
        np.concatenate(pair) for pair in zip((type_, actor, document, time), daily, strict=True)
    )
    number = _mixed(draws.raw(), count=events)
    order = _with_second_deliveries(np.lexsort((number, time)), draws)
    return Activity(
        number=number[order],
        type=type_[order],
        actor=actor[order],
        document=document[order],
        time=time[order],
        client=draws.pick(np.array([55, 30, 15]), events)[order],
        updated=_last_changes(lives, type_, document, time, start=start, draws=draws),
    )


def _comings_and_goings(lives: Lives, *, since: int) -> tuple[Ints, Ints, Ints]:
    """The creations, deletions and creations anew in the range: types, documents and times."""
    happened = ((CREATE, lives.created, since), (DELETE, lives.deleted, 0), (CREATE, lives.restored, 0))
    found = [(type_, np.flatnonzero((after < times) & (times < NEVER)), times) for type_, times, after in happened]
    return (
        np.concatenate([np.full(len(document), type_) for type_, document, _ in found]),
        np.concatenate([document for _, document, _ in found]),
        np.concatenate([times[document] for _, document, times in found]),
    )


def _daily_work(
    catalogue: Catalogue, lives: Lives, draws: Draws, *, count: int, start: int, end: int
) -> tuple[Ints, Ints, Ints, Ints]:
    """What actors do to documents that are there: types, actors, documents and times."""
    type_ = draws.pick(SHARES, count)
    actor = draws.pick(catalogue.activity, count)
    time = times_within(start, end, draws=draws, count=count)
    document = _documents_near(actor, catalogue, draws)
    ignored = lives.is_deleted(document, time) & ~draws.chance(AFTER_DELETION, count)
    elsewhere = np.flatnonzero(lives.is_unborn(document, time) | ignored)
    lasting = catalogue.popularity * lives.is_lasting(since=start)
    document[elsewhere] = draws.pick(lasting, len(elsewhere))
    by_owner = (type_ == EDIT) & draws.chance(BY_OWNER, count)
    return type_, np.where(by_owner, catalogue.owner[document], actor), document, time


def _documents_near(actor: Ints, catalogue: Catalogue, draws: Draws) -> Ints:
    """Choose a document for each actor: mostly in a favourite folder or of the own team, and rather a popular one."""
    place, popularity, team = catalogue.place, catalogue.popularity, catalogue.team_of_actor
    team_first = np.searchsorted(place, team * FOLDERS_PER_TEAM)
    team_stop = np.searchsorted(place, (team + 1) * FOLDERS_PER_TEAM)
    liked = [place[draws.pick_within(popularity, team_first, team_stop)] for _ in range(FAVOURITES)]
    favourite = np.array(liked)[draws.below(FAVOURITES, len(actor)), actor]
    scope = draws.uniform(len(actor))
    scopes = [scope < IN_FAVOURITE, scope < IN_FAVOURITE + IN_TEAM]
    first = np.select(scopes, [np.searchsorted(place, favourite), team_first[actor]], default=0)
    stop = np.select(scopes, [np.searchsorted(place, favourite + 1), team_stop[actor]], default=len(place))
    return draws.pick_within(popularity, first, stop)


def _last_changes(lives: Lives, type_: Ints, document: Ints, time: Ints, *, start: int, draws: Draws) -> Ints:
    """When each document was last created or edited, for those unchanged in the range some time before it."""
    age = np.maximum(start - lives.created, 0)
    updated = lives.created + np.floor(draws.uniform(len(age)) * age).astype(np.int64)
    changes = (type_ == EDIT) | (type_ == CREATE)
    np.maximum.at(updated, document[changes], time[changes])
    return updated


def _with_second_deliveries(order: Ints, draws: Draws) -> Ints:
    deliveries = np.ones(len(order), dtype=np.int64)
    deliveries[draws.order(len(order))[: round(len(order) * TWICE)]] = 2
    return np.repeat(order, deliveries)


def _mixed(key: int, *, count: int) -> NDArray[np.uint64]:
    """Count from `key` and mix each number (SplitMix64, Steele et al. 2014), so no two are equal."""
    mixed = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


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
    happened = invent_activity(documents, events=organisation.events, start=start, end=end, key=(*key, start, end))
    return documents.rows(updated=happened.updated), happened.rows(documents)


def _check_whole(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise WorkspaceError(f"workspace: {name} is {value!r}; give a whole number of at least {least}")


def _check_end(end: datetime, *, days: int) -> None:
    if end.utcoffset() != timedelta(0):
        raise WorkspaceError(f"workspace: end is {end!r}; give a time with tzinfo=UTC")
    if (end - EPOCH).days < days:
        raise WorkspaceError(f"workspace: days is {days}, which begins before 1970; give at most {(end - EPOCH).days}")
