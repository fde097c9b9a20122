"""Random histories of drawn definitions: many at once in the same tables, as every id and key has its history's number in it."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

from tailrace.definitions import DATE, FLOAT64, DerivedSource, EventSource
from tailrace.definitions.derived_source import Events
from tailrace.lake.tables import Lake
from tailrace.schemas.slots import GRID
from tests.jobs.gold.drawn_definitions import CONDITIONS, THINGS, Drawn, derived_rows, type_in
from tests.jobs.gold.oracle import Key, Row, Rows, expected_rows
from tests.jobs.silver.deliveries import deliver

START = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
STEPS = [GRID, GRID, GRID, 2 * GRID, 5 * GRID, timedelta(hours=23), timedelta(days=8)]
LENGTHS = [timedelta(0), timedelta(minutes=15), timedelta(hours=1), timedelta(days=1), timedelta(days=7)]
TICK = timedelta(microseconds=1)

KINDS = ("new", "new", "new", "back", "again", "corrected", "moved", "erased")
CORRECTED = ("kind", "flag", "amount", "words", "more", "noise")
MOVED = ("who", "what", "thing", "at")
WORDS = (None, "", "buy", "buy view", "view buy view", "view view")
ATTRIBUTES = ('{"dwell": 0.1}', '{"dwell": 0.7000001}', '{"dwell": -1e17}', '{"dwell": 1e18}', "{}", None)
THINGS_OF_A_HISTORY = 3

Changes = dict[Key, dict[str, Any] | None]  # None for a row that goes


class World:
    """What all histories have brought so far: events, the table to look up, and what parents were first given."""

    def __init__(self, drawn: Drawn, choose: random.Random, *, histories: int) -> None:
        self.drawn = drawn
        self.choose = choose
        self.histories = range(histories)
        self.as_of = START
        self.numbers = count()
        self.events: dict[tuple[str, int], Rows] = defaultdict(dict)  # by source and history
        self.erased: dict[tuple[str, int], list[Key]] = defaultdict(list)
        self.categories: dict[int, str | None] = {}
        self.derived: dict[str, Rows] = {source.name: {} for source in drawn.derived}
        self.given: dict[str, dict[Key, tuple[int | None, str | None]]] = {source.name: {} for source in drawn.derived}

    def deliver(self, lake: Lake) -> None:
        """Let every history bring something to each table of silver, in one commit of each."""
        for source in self.drawn.sources:
            changes: Changes = {}
            for number in self.histories:
                changes |= self.changes(source, number)
            rows = [row for row in changes.values() if row is not None]
            deliver(lake, source.silver_table, rows, gone=[key for key, row in changes.items() if row is None])
        self.deliver_things(lake)

    def changes(self, source: EventSource, number: int) -> Changes:
        """What comes, comes again, is corrected, moves or goes in one history of one source."""
        found: Changes = {}
        events, erased = self.events[source.name, number], self.erased[source.name, number]
        for _ in range(self.choose.randint(0, 3)):
            kind, drawn = self.choose.choice(KINDS), self.drawn_event(source, number)
            if kind == "erased" and events:
                key = self.choose.choice([*events])
                del events[key]
                erased.append(key)
                found[key] = None
                continue
            if kind == "new" or not (events or erased):
                key = self.new_key(source, number)
            else:
                key = self.choose.choice(erased if kind == "back" and erased else [*events] or erased)
            changed = {"corrected": CORRECTED, "moved": MOVED}.get(kind, ())
            known = events.get(key, drawn | dict(zip(source.key_columns, key, strict=True)))
            found[key] = events[key] = known | {name: drawn[name] for name in changed}
        return found

    def new_key(self, source: EventSource, number: int) -> Key:
        """An id that was not there before; where it is of two columns, the first stands for several rows."""
        place = next(self.numbers)
        return (f"{number}:{place}",) if len(source.key_columns) == 1 else (f"{number}:{place % 4}", f"{place}")

    def drawn_event(self, source: EventSource, number: int) -> dict[str, Any]:
        """An event but for its id, near an edge of a window, or late, or early."""
        choose = self.choose
        age = choose.choice(LENGTHS) - choose.randint(-3, 3) * GRID + choose.randint(-1, 1) * TICK
        second, amount = choose.choice((0, 1)) + 3 * number, choose.choice((None, -3, 0, 2))
        is_date, is_float = type_in(source, "what") is DATE, type_in(source, "amount") is FLOAT64
        return {
            "at": self.as_of - age,
            "who": choose.choice((None, *2 * (f"{number}:u", f"{number}:v"))),
            "what": choose.choice((None, *3 * (date(2000, 1, 1) + timedelta(days=second) if is_date else second,))),
            "kind": choose.choice(("buy", "view")),
            "flag": choose.choice((None, True, False)),
            "amount": amount / 4 if amount is not None and is_float else amount,
            "words": choose.choice(WORDS),
            "thing": choose.choice((None, *2 * (*self.things_of(number),))),
            "more": choose.choice(ATTRIBUTES),
            "noise": choose.choice((None, "x")),
        }

    def things_of(self, number: int) -> range:
        """The keys of the table to look up that a history's events name."""
        return range(number * THINGS_OF_A_HISTORY, (number + 1) * THINGS_OF_A_HISTORY)

    def deliver_things(self, lake: Lake) -> None:
        """Let rows of the table to look up come, change in what is looked up or in something else, and go."""
        rows, gone = [], []
        for number in self.histories:
            thing = self.choose.choice(self.things_of(number))
            act = self.choose.choice(("none", "told", "told", "noise", "gone"))
            if act == "gone" and thing in self.categories:
                del self.categories[thing]
                gone.append((thing,))
            elif act in {"told", "noise"}:
                known = (
                    self.categories.get(thing) if act == "noise" else self.choose.choice((None, "", "p", "q", "p", "q"))
                )
                self.categories[thing] = known and f"{number}:{known.rpartition(':')[2]}"
                rows.append({"thing": thing, "category": self.categories[thing], "noise": self.choose.choice("xy")})
        deliver(lake, THINGS.silver_table, rows, gone=gone)

    def derive(self) -> None:
        """Derive what the product has derived now."""
        for source in self.drawn.derived:
            self.give(source)
            rows: Rows = {}
            for key, parent in self.rows_of(source.of):
                for row in derived_rows(source, parent, self.given[source.name][key][1]):
                    rows[tuple(row[name] for name in source.key_columns)] = row
            self.derived[source.name] = rows

    def give(self, source: DerivedSource) -> None:
        """Look up for each parent; one that does not follow keeps what it has while it names the same thing."""
        [lookup] = source.lookups
        before, found = self.given[source.name], {}
        for key, parent in self.rows_of(source.of):
            thing = parent["thing"]
            kept = before.get(key) if not lookup.follow else None
            found[key] = kept if kept and kept[0] == thing else (thing, self.categories.get(thing))
        self.given[source.name] = found

    def rows_of(self, source: Events) -> Iterator[tuple[Key, dict[str, Any]]]:
        """All rows of a source by their keys."""
        if isinstance(source, DerivedSource):
            yield from self.derived[source.name].items()
        else:
            for number in self.histories:
                yield from self.events[source.name, number].items()

    def expected(self) -> dict[str, Rows]:
        """The rows that every view, and every derived source, has now, by its name."""
        sources: list[Events] = [*self.drawn.sources, *self.drawn.derived]
        events: dict[str, Iterable[Row]] = {one.name: [row for _, row in self.rows_of(one)] for one in sources}
        rows = expected_rows(self.drawn.views, events, as_of=self.as_of, conditions=CONDITIONS)
        return rows | self.derived
