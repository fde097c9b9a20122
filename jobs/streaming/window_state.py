"""Recent windows as the store keeps them: counts per minute, packed and merged."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pybase64

from tailrace.definitions import StreamView
from tailrace.definitions.aggregations.stream_part import Additions, Arrivals
from tailrace.definitions.stream_view import MICROS_PER_MINUTE, rings_of

Array = npt.NDArray[Any]
State = dict[str, Array]

TOUCH = -1  # the line of a change that only says that something happened
ENTRY = np.dtype([("minute", "<u4"), ("digest", "<u8")])
TEXT_PER_ENTRY = 16  # characters of base64, without padding


@dataclass(frozen=True, kw_only=True)
class StateChanges:
    """What is to be added to states: the place of each key, the line of the view, a minute, and an amount."""

    key: Array
    line: Array
    minute: Array
    amount: Array

    def where(self, kept: Array) -> "StateChanges":
        return StateChanges(
            key=self.key[kept], line=self.line[kept], minute=self.minute[kept], amount=self.amount[kept]
        )


@dataclass(frozen=True, kw_only=True)
class Events:
    """Events in the order of delivery: place of the pair, which is a key of the finest view, id, type and time in microseconds.

    `whole` says whether an event has all keys of the finest view: no rows of partners are counted by the others.
    """

    key: Array
    id: Sequence[str]
    type: Array
    at: Array
    whole: Array

    def where(self, kept: Array) -> "Events":
        ids = [one for one, is_kept in zip(self.id, kept.tolist(), strict=True) if is_kept]
        return Events(key=self.key[kept], id=ids, type=self.type[kept], at=self.at[kept], whole=self.whole[kept])


def digests(ids: Sequence[str]) -> Array:
    texts = (hashlib.blake2b(one.encode(), digest_size=8).digest() for one in ids)
    return np.frombuffer(b"".join(texts), dtype="<u8")


def empty(view: StreamView, keys: int) -> State:
    """The state of keys of which nothing is known."""
    state: State = {feature.name: np.zeros(keys, np.int64) for feature in view.features}
    state["_batch"] = np.full(keys, -1, np.int64)
    if view.remembers_events:
        state["_seen"] = np.full(keys, "", object)
    return state


def fold_changes(view: StreamView, state: State, changes: StateChanges) -> State:
    """The state with changes added to it; sequence and order of changes do not matter."""
    folded = dict(state)
    touched = changes.line == TOUCH
    newest = state["_minute"].copy()
    np.maximum.at(newest, changes.key[touched], changes.minute[touched])
    folded["_minute"] = newest
    for ring in rings_of(view.aggregations):
        names = [column.name for column in ring.columns]
        moved = newest // ring.width - state["_minute"] // ring.width
        counts = moved_on(np.stack([state[name] for name in names], axis=1), moved)
        mine = changes.line == ring.line
        key, age = changes.key[mine], newest[changes.key[mine]] // ring.width - changes.minute[mine] // ring.width
        kept = (age >= 0) & (age < ring.slots)
        np.add.at(counts, (key[kept], age[kept]), changes.amount[mine][kept])
        folded |= {name: counts[:, age] for age, name in enumerate(names)}
    for number, line in enumerate(view.aggregations):
        if line.stream and line.stream.features:
            mine = changes.where(changes.line == number)
            folded |= line.stream.fold(state, Additions(mine.key, mine.minute * MICROS_PER_MINUTE, mine.amount))
    return folded


def moved_on(counts: Array, by: Array) -> Array:
    """Buckets, the newest first, after so many new ones; what is pushed out at the end is forgotten."""
    source = np.arange(counts.shape[1])[None, :] - by[:, None]
    moved: Array = np.where(source >= 0, np.take_along_axis(counts, np.maximum(source, 0), axis=1), 0)
    return moved


def entries_in(state: State, *, repeated: Array) -> tuple[Array, Array]:
    """All that was seen, and of which key; without what a repeated micro-batch added itself."""
    texts = state["_seen"].tolist()
    added = np.where(repeated, state["_added"], 0).tolist()
    kept = [text[: len(text) - TEXT_PER_ENTRY * own] for text, own in zip(texts, added, strict=True)]
    counts = np.fromiter((len(text) // TEXT_PER_ENTRY for text in kept), np.int64, len(kept))
    return np.frombuffer(pybase64.b64decode("".join(kept)), ENTRY), np.repeat(np.arange(len(kept)), counts)


def new_events(state: State, events: Events, *, repeated: Array) -> Array:
    """Which events are the first of their id, among those seen before and those before them here."""
    entries, owner = entries_in(state, repeated=repeated)
    pairs = np.zeros(len(entries) + len(events.at), [("key", "i8"), ("digest", "u8")])
    pairs["key"] = np.concatenate([owner, events.key])
    pairs["digest"] = np.concatenate([entries["digest"], digests(events.id)])
    first = np.zeros(len(pairs), bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    return first[len(entries) :]


def changes_of(view: StreamView, events: Events, *, key: Array, last: Array, before: Array) -> StateChanges:
    """What new events change in a view: `key` is the place in it of each event, or -1, `last` and `before` of each pair."""
    if (key < 0).any():
        events, key = events.where(key >= 0), key[key >= 0]
    place_of_pair, is_whole = np.zeros(len(last), np.int64), np.zeros(len(last), bool)
    place_of_pair[events.key], is_whole[events.key] = key, events.whole
    counted = np.where(is_whole, last, before)  # a pair without its partner moves nowhere
    arrivals = Arrivals(key=key, type=events.type, at=events.at, pair=place_of_pair, last=counted, before=before)
    parts = [(TOUCH, Additions(key, events.at, events.at))]
    for number, line in enumerate(view.aggregations):
        if line.stream:
            parts += [(number, additions) for additions in line.stream.additions(arrivals)]
    return StateChanges(
        key=np.concatenate([of.key for _, of in parts]),
        line=np.concatenate([np.full(len(of.key), number) for number, of in parts]),
        minute=np.concatenate([of.at // MICROS_PER_MINUTE for _, of in parts]),
        amount=np.concatenate([of.amount for _, of in parts]),
    )


def remember(state: State, events: Events, *, last: Array, horizon: int) -> State:
    """The finest view's own state after new events; entries older than `horizon` minutes before the newest go."""
    entries, owner = entries_in(state, repeated=np.zeros(len(last), bool))
    new = np.zeros(len(events.at), ENTRY)
    new["minute"], new["digest"] = np.maximum(events.at // MICROS_PER_MINUTE, 0), digests(events.id)
    everything, owners = np.concatenate([entries, new]), np.concatenate([owner, events.key])
    fresh = everything["minute"].astype(np.int64) > (last // MICROS_PER_MINUTE)[owners] - horizon
    order = np.argsort(owners[fresh], kind="stable")
    kept, whose = everything[fresh][order], owners[fresh][order]
    ends = np.searchsorted(whose, np.arange(len(last)), side="right")
    starts = np.concatenate([[0], ends[:-1]])
    text = pybase64.b64encode(kept.tobytes()).decode()
    added = np.zeros(len(last), np.int64)
    np.add.at(added, events.key[fresh[len(entries) :]], 1)
    seen = np.empty(len(last), object)
    spans = zip((starts * TEXT_PER_ENTRY).tolist(), (ends * TEXT_PER_ENTRY).tolist(), strict=True)
    seen[:] = [text[start:end] for start, end in spans]
    return state | {"_before_at": state["_last_at"], "_last_at": last, "_added": added, "_seen": seen}


SPARE_MINUTES = 10


def horizon_of(view: StreamView, rollups: Sequence[StreamView]) -> int:
    """How many minutes back an event can still count in a bucket that is kept."""
    rings = [ring for one in (view, *rollups) for ring in rings_of(one.aggregations)]
    return SPARE_MINUTES + max((ring.width * (ring.slots + 1) for ring in rings), default=0)


def take_pairs(
    view: StreamView,
    rollups: Sequence[StreamView],
    state: State,
    events: Events,
    *,
    places: Mapping[str, Array],
    run: int,
    batch: int,
) -> tuple[State, dict[str, StateChanges]]:
    """The state of pairs after a micro-batch, and the changes of rollups, `places` being their keys by event.

    A pair that has this micro-batch already keeps its state and finds the same changes again; one that has a
    later one has none left, because a micro-batch is complete before the next begins.
    """
    mine = state["_run"] == run
    repeated, overtaken = mine & (state["_batch"] == batch), mine & (state["_batch"] > batch)
    counts = new_events(state, events, repeated=repeated) & ~overtaken[events.key]
    new = events.where(counts)
    before = np.where(repeated, state["_before_at"], state["_last_at"])
    last = before.copy()
    np.maximum.at(last, new.key, new.at)
    changes = {
        one.name: changes_of(one, new, key=places[one.name][counts], last=last, before=before) for one in rollups
    }
    own = changes_of(view, new, key=new.key, last=last, before=before)
    folded = remember(fold_changes(view, state, own), new, last=last, horizon=horizon_of(view, rollups))
    touched = np.zeros(len(last), bool)
    touched[events.key] = True
    folded["_run"] = np.where(touched, run, state["_run"])
    folded["_batch"] = np.where(touched, batch, state["_batch"])
    settled = repeated | overtaken | ~touched
    return {name: np.where(settled, state[name], column) for name, column in folded.items()}, changes
