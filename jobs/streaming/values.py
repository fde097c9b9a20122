"""States of a stream's keys as the packed values of the store, and back."""

from collections.abc import Sequence

import numpy as np

from jobs.streaming.state import TEXT_PER_ENTRY, Array, State, empty
from sinks.rows import Row
from tailrace.definitions import FeatureView, Type
from tailrace.errors import DefinitionError
from tailrace.store.codec import MICROSECONDS, Codec, ColumnValues, SchemaMismatch


class OtherDefinition(DefinitionError):
    """The store has a view's values under another definition; the message says what to do."""


def packed(view: FeatureView, keys: Sequence[str], state: State, changed: Array, *, as_of: int | Array) -> list[Row]:
    """The keys that changed with their values; `as_of` is in microseconds, of all keys or of each."""
    places = np.flatnonzero(changed)
    if not len(places):
        return []
    columns = []
    for feature in view.features:
        values = state[feature.name][places]
        is_time = feature.type is Type.TIMESTAMP
        valid = values > 0 if is_time else np.ones(len(places), bool)
        columns.append(ColumnValues(values.view(MICROSECONDS) if is_time else values, valid))
    of_each = as_of[places] if isinstance(as_of, np.ndarray) else as_of
    encoded = Codec(view.name, view.features).encode(columns, as_of=of_each)
    return list(zip([keys[place] for place in places.tolist()], encoded, strict=True))


def unpacked(view: FeatureView, values: Sequence[bytes | None]) -> State:
    """The states of keys, `empty` where there is no value; raises `OtherDefinition` for a value that has other columns."""
    state = empty(view, len(values))
    found = [(place, value) for place, value in enumerate(values) if value]
    if not found:
        return state
    at = np.array([place for place, _ in found])
    try:
        columns = Codec(view.name, view.features).decode([value for _, value in found]).columns
    except SchemaMismatch as error:
        raise OtherDefinition(
            f"view {view.name} is defined otherwise than when its values were written; stop the stream, run "
            f"`tailrace rebuild {view.name}`, and start it again ({error})"
        ) from error
    for feature, column in zip(view.features, columns, strict=True):
        is_time = feature.type is Type.TIMESTAMP
        state[feature.name][at] = column.values.astype(np.int64) if is_time else column.values
    return state


def settled(view: FeatureView, state: State, *, run: int = 0, batch: int = -1, ids: bool = True) -> State:
    """States as they are whichever way their events came: marked as those of one micro-batch, ids in order or left out."""
    state = state | {"_run": np.full_like(state["_run"], run), "_batch": np.full_like(state["_batch"], batch)}
    if view.is_finest:
        seen = np.full(len(state["_seen"]), "", object)
        if ids:
            seen[:] = [in_order(text) for text in state["_seen"].tolist()]
        state |= {"_before_at": state["_last_at"], "_added": np.zeros_like(state["_added"]), "_seen": seen}
    return state


def in_order(seen: str) -> str:
    return "".join(sorted(seen[start : start + TEXT_PER_ENTRY] for start in range(0, len(seen), TEXT_PER_ENTRY)))
