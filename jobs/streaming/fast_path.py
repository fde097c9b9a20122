"""The fast path: plain events parsed by numpy and Arrow instead of row by row."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.lines import validate_lines
from jobs.streaming.window_state import TEXT_PER_ENTRY, Array, Events, State, StateChanges, empty
from tailrace.definitions import StreamView
from tailrace.definitions.stream_view import MICROS_PER_MINUTE, MINUTES_AHEAD
from tailrace.errors import DataError, DefinitionError
from tailrace.lake.session import small_frame
from tailrace.schemas.ids import problem_of, without_duplicates
from tailrace.schemas.landing import UTC_ZONE, Feed, FeedField
from tailrace.schemas.slots import EARLIEST, LATEST, to_micros
from tailrace.schemas.tables import Type
from tailrace.store.codec import MICROSECONDS, Codec, ColumnValues, SchemaMismatch
from tailrace.store.keys import item_keys
from tailrace.store.port import Row

AMOUNTS = ("line", "minute", "amount")


@dataclass(frozen=True, kw_only=True)
class Keyed:
    """By view, the item keys that rows are about, and the place of each row's among them."""

    keys: dict[str, list[str]]
    places: dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The item keys of a view that change, and what changes, each by the place of its key among them."""

    keys: list[str]
    changes: StateChanges


def whole(parts: Iterable[pa.RecordBatch]) -> pd.DataFrame | None:
    frames = [part.to_pandas() for part in parts if part.num_rows]
    return pd.concat(frames, ignore_index=True) if frames else None


def keyed(rows: pd.DataFrame, views: Sequence[StreamView]) -> Keyed:
    ids = {key: rows[key].tolist() for key in ("actor_id", "document_id")}
    places, keys = {}, {}
    for view in views:
        of_rows = item_keys({one.name: one.key for one in view.entities}, ids)
        places[view.name], found = pd.factorize(np.array(of_rows, object))
        keys[view.name] = list(found)
    return Keyed(keys=keys, places=places)


def events_of(rows: pd.DataFrame, key: Array) -> Events:
    """Events of rows, `key` being the place of the pair of each."""
    return Events(
        key=key,
        id=rows["event_id"].tolist(),
        type=rows["event_type"].to_numpy(object),
        at=rows["at"].to_numpy(np.int64),
    )


def changes_of_rows(rows: pd.DataFrame, key: Array) -> StateChanges:
    """Changes of rows, `key` being the place of the key of each."""
    line, minute, amount = (rows[name].to_numpy(np.int64) for name in AMOUNTS)
    return StateChanges(key=key.astype(np.int64), line=line, minute=minute, amount=amount)


def narrowed(changes: StateChanges, keys: Sequence[str]) -> Changed:
    """Changes, with only those keys that they change."""
    places, key = np.unique(changes.key, return_inverse=True)
    return Changed(keys=[keys[place] for place in places.tolist()], changes=replace(changes, key=key))


class OtherDefinition(DefinitionError):
    """The store has a view's values under another definition; the message says what to do."""

    def __init__(self, view: StreamView, why: str = "") -> None:
        super().__init__(
            f"view {view.name} is defined otherwise than when its values were written; stop the stream, run "
            f"`tailrace rebuild {view.name}`, and start it again{f' ({why})' if why else ''}"
        )


def pack_states(
    view: StreamView, keys: Sequence[str], state: State, changed: Array, *, as_of: int | Array
) -> list[Row]:
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


def unpack_states(view: StreamView, values: Sequence[bytes | None]) -> State:
    """The states of keys, `empty` where there is no value; raises `OtherDefinition` for a value that has other columns."""
    state = empty(view, len(values))
    found = [(place, value) for place, value in enumerate(values) if value]
    if not found:
        return state
    at = np.array([place for place, _ in found])
    try:
        columns = Codec(view.name, view.features).decode([value for _, value in found]).columns
    except SchemaMismatch as error:
        raise OtherDefinition(view, str(error)) from error
    for feature, column in zip(view.features, columns, strict=True):
        is_time = feature.type is Type.TIMESTAMP
        state[feature.name][at] = column.values.astype(np.int64) if is_time else column.values
    return state


def settled_states(view: StreamView, state: State, *, run: int = 0, batch: int = -1, ids: bool = True) -> State:
    """States as they are whichever way their events came: marked as those of one micro-batch, ids in order or left out."""
    state = state | {"_run": np.full_like(state["_run"], run), "_batch": np.full_like(state["_batch"], batch)}
    if view.is_of_pairs:
        seen = np.full(len(state["_seen"]), "", object)
        if ids:
            seen[:] = [in_order(text) for text in state["_seen"].tolist()]
        state |= {"_before_at": state["_last_at"], "_added": np.zeros_like(state["_added"]), "_seen": seen}
    return state


def in_order(seen: str) -> str:
    return "".join(sorted(seen[start : start + TEXT_PER_ENTRY] for start in range(0, len(seen), TEXT_PER_ENTRY)))


FAR = datetime(9000, 1, 1, tzinfo=UTC)

COLUMNS = ("actor_id", "document_id", "event_id", "event_type", "at")

# Of what is plain: below every limit of either parser.
PLAIN_BYTES = 4_096
PLAIN_DEPTH = 100
PLAIN_DIGITS = 18  # of a whole number, which fit in 64 bits
PLAIN_FRACTION = 36  # characters of any other
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half a letter, which Python accepts by itself
PLAIN_TIME = re.compile(
    r"[1-8]\d{3}-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:0\d|1[0-7]):[0-5]\d)?",
    re.ASCII,
)


class NotPlain(DataError, ValueError):
    """Whether a line can be used is for `validate_lines` to say."""


def feed_of(views: Sequence[StreamView]) -> Feed:
    """How lines of the source of stream views are read."""
    return views[0].event_source.feed(ids={entity.column for view in views for entity in view.entities})


def valid_events(messages: DataFrame, feed: Feed) -> pd.DataFrame:
    """The events of messages `value, appended_at, partition, place` as rows of `COLUMNS` with `appended`, `partition` and `place`.

    Times are in microseconds. `place` orders what the source has, `partition` is the part of it in which that order is the
    one of `appended`. Left out are what cannot be used, which is bronze's to quarantine, and what claims to come from the
    future.
    """
    lines = delivered(
        messages, F.when(F.octet_length("value") <= PLAIN_BYTES, F.col("value").cast("binary")).alias("value")
    )
    rows, left = plain_rows(lines, feed)
    if left:
        places = small_frame(messages.sparkSession, [(place,) for place in left], "place string")
        rest = validated(messages.join(F.broadcast(places), on="place", how="left_semi"), feed)
        rows = pd.concat([rows, rest], ignore_index=True)
    valid: pd.DataFrame = rows[~is_ahead(rows["at"], rows["appended"])]
    return valid


def delivered(messages: DataFrame, *columns: Any) -> pd.DataFrame:
    appended = F.unix_micros("appended_at").alias("appended")
    rows: pd.DataFrame = messages.select(*columns, appended, "partition", "place").toArrow().to_pandas()
    return rows


def validated(messages: DataFrame, feed: Feed) -> pd.DataFrame:
    """The valid ones by the rules of bronze, but for how far an event may be ahead of the clock."""
    valid = validate_lines(messages, feed, now=FAR).where("reason IS NULL")
    return delivered(valid, *COLUMNS[:-1], F.unix_micros("occurred_at").alias("at"))


def is_ahead(at: Any, appended: Any) -> Any:
    """Whether an event claims to be of a time so far after its append that its clock must be wrong, by columns of Spark's or
    of pandas', in microseconds.
    """
    return at - appended > MINUTES_AHEAD * MICROS_PER_MINUTE


def plain_rows(lines: pd.DataFrame, feed: Feed) -> tuple[pd.DataFrame, list[str]]:
    """The rows of the fast path, and the places that have others; a place has all of a file's lines."""
    found = [plain_event(value, feed) for value in lines.pop("value")]
    left = lines["place"][[one is None for one in found]].unique().tolist()
    is_plain = ~lines["place"].isin(left)
    facts = [one for one, kept in zip(found, is_plain, strict=True) if one and kept]
    rows = pd.DataFrame.from_records(facts, columns=list(COLUMNS)).astype({"at": "int64"})
    return pd.concat([rows, lines[is_plain].reset_index(drop=True)], axis=1), left


def plain_event(line: bytes | None, feed: Feed) -> tuple[str, str, str, str, int] | None:
    """The `COLUMNS` of a line; None where it is not plain."""
    if line is None or SURROGATE.search(line) or line.count(b"{") + line.count(b"[") > PLAIN_DEPTH:
        return None
    try:
        given = parse_plain(line.decode())
        facts = {field.column.name: plain_value(field, value_at(field, given)) for field in feed.fields}
    except ValueError:  # of any kind: bytes that are not text, text that is not JSON, a day that is not in the calendar
        return None
    return facts["actor_id"], facts["document_id"], facts["event_id"], facts["event_type"], facts["occurred_at"]


def value_at(field: FeedField, given: Any) -> Any:
    """What a parsed line has at a field's path; None where it has nothing there."""
    for part in field.path:
        if not isinstance(given, dict):
            return None
        given = given.get(part)
    return given


def plain_value(field: FeedField, value: Any) -> Any:
    if value is None and not field.required:
        return None
    if field.is_object and isinstance(value, dict):
        return None
    is_text_of_utc = not field.unit and field.zone == UTC_ZONE and isinstance(value, str)
    if field.column.type is Type.TIMESTAMP and is_text_of_utc and PLAIN_TIME.fullmatch(value):
        at = datetime.fromisoformat(value)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        if not EARLIEST <= at < LATEST:
            raise NotPlain(field.name)
        return to_micros(at)
    if field.column.type is Type.STRING and not field.is_object:
        text = str(value) if type(value) is int else value
        is_plain = isinstance(text, str) and (problem_of(text) is None or not field.is_id)
        if is_plain and (field.pattern is None or re.fullmatch(field.pattern, text)):
            return text
    raise NotPlain(field.name)


def plain_int(digits: str) -> int:
    if len(digits) > PLAIN_DIGITS:
        raise NotPlain(digits)
    return int(digits)


def plain_float(digits: str) -> float:
    number = float(digits)
    if len(digits) > PLAIN_FRACTION or not math.isfinite(number):
        raise NotPlain(digits)
    return number


def no_constant(name: str) -> None:
    raise NotPlain(name)


DECODER = json.JSONDecoder(
    object_pairs_hook=without_duplicates, parse_int=plain_int, parse_float=plain_float, parse_constant=no_constant
)


def parse_plain(text: str) -> dict[str, Any]:
    found = DECODER.decode(text)
    if not isinstance(found, dict):
        raise NotPlain("no object")
    return found
