"""What the stream reads of each event of its source: rows of texts and times, the same from lines and from bronze."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import and_, or_
from typing import Any, Self

import numpy as np
import pandas as pd
from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.gold.compute import is_id
from jobs.streaming.window_state import Array, Events
from tailrace.definitions import Definitions, StreamView
from tailrace.definitions.declared_source import EventColumns
from tailrace.definitions.stream_view import MICROS_PER_MINUTE, MINUTES_AHEAD
from tailrace.lake.session import is_met
from tailrace.schemas.landing import Feed
from tailrace.schemas.tables import Type
from tailrace.store.keys import ItemKeyError, is_too_long, item_keys, spelled_keys

MISSING = ""  # of a key that an event has not
OF_EVENTS = ("id", "type", "at")


@dataclass(frozen=True, kw_only=True)
class EventRows:
    """How events of a feed become rows for views, of which the first is the finest.

    A row has the text of each key of the finest view (`key_…`, `MISSING` where there is none), `id`, `type`, and `at` in
    microseconds; and for each view with a condition whether the event meets it (`in_…`).
    """

    feed: Feed
    words: EventColumns
    views: tuple[StreamView, ...]

    @classmethod
    def of(cls, definitions: Definitions) -> Self:
        """Those of the source that the stream follows."""
        source = definitions.streamed_source
        [feed] = [one for one in definitions.feeds if one.name == source.name]
        return cls(feed=feed, words=source.words, views=definitions.streamed)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The columns of keys."""
        return key_names(self.views)

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the source that have the keys."""
        return tuple(entity.column for entity in self.views[0].entities)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return (*self.keys, *OF_EVENTS, *(condition_name(view) for view in self.conditional))

    @cached_property
    def conditional(self) -> tuple[StreamView, ...]:
        """The views that count only events which meet a condition."""
        return tuple(view for view in self.views if view.where is not None)

    @cached_property
    def has_plain(self) -> bool:
        """Whether rows can be made of lines without Spark, which alone knows conditions and digests of rows."""
        return not self.conditional and self.feed.row_id is None

    def columns(self) -> list[Column]:
        """Rows of valid lines or of bronze, as columns of Spark."""
        words = self.words
        keys = [
            key_text(entity.column, entity.type).alias(key_name(entity.column)) for entity in self.views[0].entities
        ]
        type_ = F.coalesce(words.type, F.lit("")) if words.type else F.lit("")
        conditions = [is_met(str(view.where)).alias(condition_name(view)) for view in self.conditional]
        at = F.unix_micros(words.time).alias("at")
        return [*keys, id_column(words.id).alias("id"), type_.alias("type"), at, *conditions]

    def row_of(self, facts: Mapping[str, Any]) -> tuple[Any, ...]:
        """The row of an event, by its columns, where `has_plain`."""
        words = self.words
        keys = [text_of(facts[column]) for column in self.key_columns]
        type_ = facts[words.type] if words.type else None
        return (*keys, id_of([text_of(facts[name]) for name in words.id]), type_ or "", facts[words.time])


def key_names(views: Sequence[StreamView]) -> tuple[str, ...]:
    """The columns of keys in rows for views, of which the first is the finest."""
    return tuple(key_name(entity.column) for entity in views[0].entities)


def key_name(column: str) -> str:
    return f"key_{column}"


def condition_name(view: StreamView) -> str:
    return f"in_{view.name}"


def key_text(column: str, type_: Type) -> Column:
    """The text of a key, `MISSING` for what is not one."""
    text = F.when(is_id(column), F.col(column)) if type_ is Type.STRING else F.col(column).cast("string")
    return F.coalesce(text, F.lit(MISSING))


def id_column(names: Sequence[str]) -> Column:
    """`id_of` as a column of Spark."""
    texts = [F.col(name).cast("string") for name in names]
    if len(texts) == 1:
        return texts[0]
    return F.concat(*(part for text in texts for part in (F.length(text).cast("string"), F.lit(":"), text)))


def id_of(texts: Sequence[str]) -> str:
    """One text for an id of several columns, each with its length, so that ("1", "23") is not ("12", "3")."""
    return texts[0] if len(texts) == 1 else "".join(f"{len(text)}:{text}" for text in texts)


def text_of(value: Any) -> str:
    """The text of a key or of a part of an id, as Spark writes it."""
    if type(value) is str:
        return value
    return MISSING if value is None else str(value)


def is_ahead(at: Any, appended: Any) -> Any:
    """Whether an event claims to be of a time so far after its append that its clock must be wrong, by columns of Spark's or
    of pandas', in microseconds.
    """
    return at - appended > MINUTES_AHEAD * MICROS_PER_MINUTE


def counts(rows: Any, view: StreamView) -> Any:
    """Whether rows of Spark's or of pandas' count in a view: they have its keys and meet its condition."""
    conditions = [rows[key_name(entity.column)] != MISSING for entity in view.entities]
    conditions += [rows[condition_name(view)]] if view.where is not None else []
    return reduce(and_, conditions)


def counts_somewhere(rows: Any, views: Sequence[StreamView]) -> Any:
    """Whether rows count in any view that somebody declared."""
    return reduce(or_, (counts(rows, view) for view in views if view.aggregations))


@dataclass(frozen=True, kw_only=True)
class Keyed:
    """By view, the item keys that rows are about, and the place of each row's among them; -1 where it does not count."""

    keys: dict[str, list[str]]
    places: dict[str, Array]


def keyed(rows: pd.DataFrame, views: Sequence[StreamView]) -> Keyed:
    """The keys of rows in views; in the finest every row counts."""
    places, keys = {}, {}
    for view in views:
        mine = np.ones(len(rows), bool) if view.remembers_events else counts(rows, view).to_numpy(bool)
        of_rows = item_keys({one.name: one.key for one in view.entities}, ids_in(rows[mine], view))
        places[view.name] = np.full(len(rows), -1)
        places[view.name][mine], found = pd.factorize(np.array(of_rows, object))
        keys[view.name] = list(found)
    return Keyed(keys=keys, places=places)


def ids_in(rows: pd.DataFrame, view: StreamView) -> dict[str, list[str]]:
    """The ids of a view's keys that rows have."""
    return {one.key: rows[key_name(one.column)].tolist() for one in view.entities}


def keys_too_long(rows: pd.DataFrame, finest: StreamView) -> pd.Series:
    """The item keys of those rows whose key in the finest view no store takes; each counts in no view then."""
    keys = spelled_keys({one.name: one.key for one in finest.entities}, ids_in(rows, finest))
    found = pd.Series(keys, index=rows.index, dtype=object)
    return found[[is_too_long(key) for key in keys]]


def storable(rows: pd.DataFrame, views: Sequence[StreamView]) -> tuple[pd.DataFrame, Keyed]:
    """Rows without those whose keys no store takes, as the stream leaves them out, and the keys of the others."""
    try:
        return rows, keyed(rows, views)
    except ItemKeyError:
        left = rows.drop(keys_too_long(rows, views[0]).index)
        return left, keyed(left, views)


def events_of(rows: pd.DataFrame, key: Array) -> Events:
    """Events of rows, `key` being the place of each in the finest view."""
    keys = [name for name in rows.columns if name.startswith(key_name(""))]
    return Events(
        key=key,
        id=rows["id"].tolist(),
        type=rows["type"].to_numpy(object),
        at=rows["at"].to_numpy(np.int64),
        whole=(rows[keys] != MISSING).all(axis=1).to_numpy(bool),
    )
