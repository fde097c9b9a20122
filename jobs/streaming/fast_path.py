"""The fast path: plain events parsed by numpy and Arrow instead of row by row."""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.lines import validate_lines
from jobs.streaming.event_rows import EventRows, counts_somewhere, is_ahead
from jobs.streaming.window_state import TEXT_PER_ENTRY, Array, State, StateChanges, empty
from tailrace.definitions import StreamView
from tailrace.errors import DataError, DefinitionError
from tailrace.lake.session import small_frame
from tailrace.schemas.ids import problem_of, without_duplicates
from tailrace.schemas.landing import MICROS_IN, UTC_ZONE, Feed, FeedField
from tailrace.schemas.slots import EARLIEST, LATEST, to_micros
from tailrace.schemas.tables import Type
from tailrace.store.codec import MICROSECONDS, Codec, ColumnValues, SchemaMismatch
from tailrace.store.port import Row

AMOUNTS = ("line", "minute", "amount")


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The item keys of a view that change, and what changes, each by the place of its key among them."""

    keys: list[str]
    changes: StateChanges


def whole(parts: Iterable[pa.RecordBatch]) -> pd.DataFrame | None:
    frames = [part.to_pandas() for part in parts if part.num_rows]
    return pd.concat(frames, ignore_index=True) if frames else None


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
        named = f" {view.name}" if view.aggregations else ""  # nobody can name the one that nobody declares
        super().__init__(
            f"view {view.name} is defined otherwise than when its values were written; stop the stream, run "
            f"`tailrace rebuild{named}`, and start it again{f' ({why})' if why else ''}"
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
    if view.remembers_events:
        seen = np.full(len(state["_seen"]), "", object)
        if ids:
            seen[:] = [in_order(text) for text in state["_seen"].tolist()]
        state |= {"_before_at": state["_last_at"], "_added": np.zeros_like(state["_added"]), "_seen": seen}
    return state


def in_order(seen: str) -> str:
    return "".join(sorted(seen[start : start + TEXT_PER_ENTRY] for start in range(0, len(seen), TEXT_PER_ENTRY)))


FAR = datetime(9000, 1, 1, tzinfo=UTC)

DELIVERY = ("appended_at", "partition", "place")
DELIVERED = "_delivered"  # all of these, as no field is called

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
PLAIN_DATE = re.compile(r"[1-8]\d{3}-\d\d-\d\d", re.ASCII)
SETS_IN_SETS = re.compile(r"&&|\[[^\]]*\[")
EARLIEST_MICROS, LATEST_MICROS = to_micros(EARLIEST), to_micros(LATEST)


class NotPlain(DataError, ValueError):
    """Whether a line can be used is for `validate_lines` to say."""


def valid_events(messages: DataFrame, of: EventRows) -> pd.DataFrame:
    """The events of messages `value, appended_at, partition, place` as rows with `appended`, `partition` and `place`.

    Times are in microseconds. `place` orders what the source has, `partition` is the part of it in which that order is the
    one of `appended`. Left out are what cannot be used, which is bronze's to quarantine, what claims to come from the
    future, and what counts in no view.
    """
    rows = fast_rows(messages, of) if of.has_plain else validated(messages, of)
    valid: pd.DataFrame = rows[~is_ahead(rows["at"], rows["appended"]) & counts_somewhere(rows, of.views)]
    return valid


def fast_rows(messages: DataFrame, of: EventRows) -> pd.DataFrame:
    """Rows of the fast path, and by the rules of bronze those of places that have others."""
    value = F.when(F.octet_length("value") <= PLAIN_BYTES, F.col("value").cast("binary")).alias("value")
    rows, left = plain_rows(delivered(messages.select(value, *DELIVERY)), of)
    if left:
        places = small_frame(messages.sparkSession, [(place,) for place in left], "place string")
        rest = validated(messages.join(F.broadcast(places), on="place", how="left_semi"), of)
        rows = pd.concat([rows, rest], ignore_index=True)
    return rows


def delivered(rows: DataFrame) -> pd.DataFrame:
    """Rows in the driver, with the time of append in microseconds."""
    appended = F.unix_micros("appended_at").alias("appended")
    others = [name for name in rows.columns if name not in DELIVERY]
    found: pd.DataFrame = rows.select(*others, appended, "partition", "place").toArrow().to_pandas()
    return found


def validated(messages: DataFrame, of: EventRows) -> pd.DataFrame:
    """The valid ones by the rules of bronze, but for how far an event may be ahead of the clock."""
    lines = messages.select("value", F.struct(*DELIVERY).alias(DELIVERED))  # a field of the source may have such a name
    valid = validate_lines(lines, of.feed, now=FAR).where("reason IS NULL")
    return delivered(valid.select(*of.columns(), f"{DELIVERED}.*"))


def plain_rows(lines: pd.DataFrame, of: EventRows) -> tuple[pd.DataFrame, list[str]]:
    """The rows of the fast path, and the places that have others; a place has all of a file's lines."""
    found = [plain_event(value, of.feed) for value in lines.pop("value")]
    left = lines["place"][[one is None for one in found]].unique().tolist()
    is_plain = ~lines["place"].isin(left)
    facts = [of.row_of(one) for one, kept in zip(found, is_plain, strict=True) if one and kept]
    rows = pd.DataFrame.from_records(facts, columns=list(of.names)).astype({"at": "int64"})
    return pd.concat([rows, lines[is_plain].reset_index(drop=True)], axis=1), left


def plain_event(line: bytes | None, feed: Feed) -> dict[str, Any] | None:
    """The facts of a line by their columns, times in microseconds; None where it is not plain."""
    if line is None or SURROGATE.search(line) or line.count(b"{") + line.count(b"[") > PLAIN_DEPTH:
        return None
    try:
        given = parse_plain(line.decode())
        return {field.column.name: plain_value(field, value_at(field, given)) for field in feed.fields}
    except ValueError:  # of any kind: bytes that are not text, text that is not JSON, a day that is not in the calendar
        return None


def value_at(field: FeedField, given: Any) -> Any:
    """What a parsed line has at a field's path; None where it has nothing there."""
    for part in field.path:
        if isinstance(given, dict):
            given = given.get(part)  # nothing is named by a number
        elif isinstance(given, list) and isinstance(part, int) and part < len(given):
            given = given[part]
        else:
            return None
    return given


def plain_value(field: FeedField, value: Any) -> Any:
    """A field's value in the type of its column; raises `NotPlain` where the rules have to say what it is."""
    if value is None and not field.required:
        return None
    if field.is_object:
        if isinstance(value, dict):
            return None
        raise NotPlain(field.name)
    type_ = field.column.type
    parse = plain_text if type_ is Type.STRING else plain_time if type_ is Type.TIMESTAMP else PLAIN_VALUES[type_]
    found = parse(field, value)
    if found is None:
        raise NotPlain(field.name)
    return found


def plain_time(field: FeedField, value: Any) -> int | None:
    """A time in microseconds: a text of UTC, or a whole number of the field's unit."""
    if field.unit:
        micros = math.floor(value * MICROS_IN[field.unit]) if type(value) is int else None
    elif field.zone == UTC_ZONE and isinstance(value, str) and PLAIN_TIME.fullmatch(value):
        at = datetime.fromisoformat(value)
        micros = to_micros(at if at.tzinfo else at.replace(tzinfo=UTC))
    else:
        micros = None
    return micros if micros is not None and EARLIEST_MICROS <= micros < LATEST_MICROS else None


def plain_text(field: FeedField, value: Any) -> str | None:
    """A text, or the digits of a whole number, which keeps the rules of ids and the field's pattern."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or (field.is_id and problem_of(text)) or (field.required and not text):
        return None
    return text if field.pattern is None or matches(field.pattern, text) else None


def matches(pattern: str, text: str) -> bool:
    """Whether a text matches a pattern for Java and Python alike: in others these differ, and Spark decides."""
    return text.isascii() and text.isprintable() and bool(compiled(pattern).fullmatch(text))


@lru_cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern; one that matches nothing where Java has sets of characters within sets, and Python has not."""
    return re.compile(r"(?!)" if SETS_IN_SETS.search(pattern) else pattern, re.ASCII)


def plain_number(field: FeedField, value: Any) -> int | float | None:
    """A number within the field's bounds."""
    is_whole = type(value) is int
    if not (is_whole or (type(value) is float and field.column.type is Type.FLOAT64)):
        return None
    number: int | float = value if field.column.type is Type.INT64 else float(value)
    low, high = field.column.minimum, field.column.maximum
    return number if (low is None or number >= low) and (high is None or number <= high) else None


def plain_bool(_field: FeedField, value: Any) -> bool | None:
    """A truth value."""
    return value if isinstance(value, bool) else None


def plain_date(_field: FeedField, value: Any) -> date | None:
    """A day."""
    return date.fromisoformat(value) if isinstance(value, str) and PLAIN_DATE.fullmatch(value) else None


PLAIN_VALUES: dict[Type, Callable[[FeedField, Any], Any]] = {
    Type.INT64: plain_number,
    Type.FLOAT64: plain_number,
    Type.BOOL: plain_bool,
    Type.DATE: plain_date,
}


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
