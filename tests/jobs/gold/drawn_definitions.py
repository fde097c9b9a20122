"""Random definitions: sources, a table to look up, derived sources, and views of all of them.

What must occur is given out rather than drawn, so that every kind occurs whatever the seed: ids of each kind, keys of each
type, look-ups that follow and that do not, a view alone and one that counts the rows of another.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import (
    BOOL,
    DATE,
    FLOAT64,
    INT64,
    STRING,
    BatchView,
    Count,
    Definitions,
    DerivedSource,
    Distinct,
    Entity,
    EventSource,
    Field,
    First,
    Last,
    Lookup,
    NewestIs,
    Sum,
    TableSource,
    Time,
)
from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.definitions.derived_source import ORDINAL, Events
from tests.jobs.gold.oracle import Row

WINDOWS = ("15m", "1h", "24h", "7d", "total")
CONDITIONS: Mapping[str | None, Callable[[Row], bool]] = {
    None: lambda _: True,
    "flag": lambda row: row["flag"] is True,
    "amount > 0": lambda row: row["amount"] is not None and row["amount"] > 0,
    "flag IS NULL OR amount >= 0": lambda row: (
        row["flag"] is None or (row["amount"] is not None and row["amount"] >= 0)
    ),
    "NOT flag AND kind = 'buy'": lambda row: row["flag"] is False and row["kind"] == "buy",
}

THINGS = TableSource(
    name="things", key="thing", fields=(Field("thing", INT64), Field("category", STRING), Field("noise", STRING))
)


@dataclass(frozen=True)
class Drawn:
    """Definitions, and their sources apart: those that are delivered, and those that are derived of them in this order."""

    sources: tuple[EventSource, ...]
    derived: tuple[DerivedSource, ...]
    definitions: Definitions

    @property
    def views(self) -> tuple[BatchView, ...]:
        return tuple(self.definitions.batch_views.values())


def drawn(choose: random.Random, *, sets: int) -> Drawn:
    """So many sets of views over three sources and two that are derived of them, one after the other."""
    sources = tuple(drawn_sources(choose))
    derived = tuple(drawn_derivations(choose, sources))
    every: list[Events] = [*sources, *derived]
    shuffled = choose.sample(every, len(every))
    of_source = zip(range(sets), cycle(shuffled))
    views = [view for number, source in of_source for view in drawn_views(choose, source, number)]
    definitions = Definitions(
        views={one.name: one for one in views}, on_demand={}, services={}, declared=(*sources, THINGS, *derived)
    )
    return Drawn(sources, derived, definitions)


def drawn_sources(choose: random.Random) -> Iterator[EventSource]:
    """Sources with one id, two, and none; their second key is a number, a date, or either."""
    ids = choose.sample(("event", ("event", "part"), None), 3)
    seconds = choose.sample((INT64, DATE, choose.choice((INT64, DATE))), 3)
    amounts = choose.sample((INT64, FLOAT64, FLOAT64), 3)
    for number, (id_, second, amount) in enumerate(zip(ids, seconds, amounts, strict=True)):
        yield EventSource(
            name=f"source{number}",
            id=id_,
            time=Time("at"),
            type="kind",
            attributes="more",
            fields=(*fields_with(second, amount), Field("more", STRING), Field("noise", STRING)),
        )


def fields_with(second: Any, amount: Any) -> tuple[Field, ...]:
    """The fields that sources and those derived of them have; `words` and `thing` are for the latter."""
    return (
        Field("who", STRING),
        Field("what", second),
        Field("kind", STRING, required=True),
        Field("flag", BOOL),
        Field("amount", amount),
        Field("words", STRING),
        Field("thing", INT64),
    )


def drawn_derivations(choose: random.Random, sources: tuple[EventSource, ...]) -> Iterator[DerivedSource]:
    """One whose rows are numbered, and one with an id of its own, of a source or of the first."""
    follows = choose.sample((True, False), 2)
    numbered = derivation("numbered", of=choose.choice(sources), transform=every_word, follow=follows[0])
    yield numbered
    parents: list[Events] = [*sources, numbered]
    yield derivation("named", of=choose.choice(parents), transform=different_words, follow=follows[1], id="kind")


def derivation(name: str, *, of: Events, transform: Any, follow: bool, **more: Any) -> DerivedSource:
    fields = fields_with(type_in(of, "what"), type_in(of, "amount"))
    looked_up = Lookup(THINGS, on="thing", fields=("category",), follow=follow)
    return DerivedSource(
        name=name, of=of, transform=transform, fields=fields, type="kind", lookups=(looked_up,), **more
    )


def every_word(rows: DataFrame) -> DataFrame:
    """A row for each word, whose kind it is; of the category that was looked up."""
    return rows.withColumns({"who": F.col("category"), "kind": F.explode(F.split("words", " "))})


def different_words(rows: DataFrame) -> DataFrame:
    """The same for different words."""
    return rows.withColumns({"who": F.col("category"), "kind": F.explode(F.array_distinct(F.split("words", " ")))})


def derived_rows(source: DerivedSource, parent: Row, category: str | None) -> list[dict[str, Any]]:
    """The rows that a derived source makes of one parent, in plain Python."""
    words = [] if parent["words"] is None else sorted(parent["words"].split(" "))
    numbered = source.is_numbered
    made = ({"who": category, "kind": word} for word in (words if numbered else dict.fromkeys(words)))
    return [{**parent, **own, **({ORDINAL.name: place} if numbered else {})} for place, own in enumerate(made)]


def drawn_views(choose: random.Random, source: Events, number: int) -> Iterator[BatchView]:
    """A view of one key; in every fourth set one of pairs as well, whose rows it counts."""
    has_pairs = number % 4 == 1
    what = Entity(f"what{number}", "what_id", type=type_in(source, "what")).as_("what")
    who = Entity(f"who{number}", "who")
    windows = tuple(choose.sample(WINDOWS, choose.randint(1, 3)))
    common: dict[str, Any] = {
        "source": source,
        "where": choose.choice((None, None, *CONDITIONS)),
        "owner": "tests",
        "description": "",
        "freshness": timedelta(hours=1),
    }
    pairs = BatchView(
        name=f"pairs{number}", entities=(who, what), aggregations=drawn_lines(choose, source, windows), **common
    )
    partners = Distinct(name="partners", rows_of=pairs.name, active="events", over=windows)
    lines = (partners, *drawn_lines(choose, source, windows)[1:]) if has_pairs else drawn_lines(choose, source, windows)
    yield from (pairs,) if has_pairs else ()
    yield BatchView(
        name=f"single{number}",
        entities=(choose.choice((who, what)),),
        aggregations=(*lines, First(name="row_index")),
        **common,
    )


def drawn_lines(choose: random.Random, source: Events, windows: tuple[str, ...]) -> tuple[Aggregation, ...]:
    """Counts and sums of all events or of some types, and what goes by the last of them."""
    types = choose.choice(((), ("buy",), ("buy", "")))
    number = choose.choice(("amount", "dwell")) if source.attributes else "amount"
    newest = (NewestIs(name="is_bought", type="buy"),) if source.key_columns == ("event",) else ()
    return (
        Count(name="events", types=types, over=windows),
        Sum(name="amounts", of=number, types=types, over=windows),
        Last(name="last", types=types),
        First(name="survivor_last", types=types),  # as the refresh calls a column of its own
        *newest,
    )


def type_in(source: Events, name: str) -> Any:
    """The type of a column."""
    return source.words.type_of(name)
