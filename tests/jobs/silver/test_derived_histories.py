"""Whatever befalls parents and look-ups, derived rows brought forward are those derived from scratch, and so are views of them.

Many random histories run at once in the same tables. DERIVED_HISTORIES and DERIVED_REFRESHES make it longer, DERIVED_SEED
repeats a run.
"""

import os
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from jobs.gold import refresh as gold
from jobs.gold.refresh import INCREMENTAL, UNCHANGED
from jobs.gold.verify import verify_view
from jobs.silver import derive
from tailrace.definitions import BatchView, Count, Definitions, Entity, Last, Lookup
from tailrace.lake.tables import Lake
from tailrace.schemas.slots import GRID
from tests.jobs.gold.test_histories import dying
from tests.jobs.silver.derived_scene import PRODUCTS, SEARCHES, T, deliver, product, rows_of, search, words

HISTORIES = int(os.environ.get("DERIVED_HISTORIES", "150"))
REFRESHES = int(os.environ.get("DERIVED_REFRESHES", "4"))
COLUMNS = ("search_id", "ordinal", "ts", "user_id", "category", "word")

FOLLOWED = words()
KEPT = words(name="kept", lookups=(Lookup(PRODUCTS, on="product_id", fields=("category",), follow=False),))
AGES = [timedelta(0), GRID, timedelta(hours=1), timedelta(days=1), -GRID]


def view(source: Any, entity: Entity, **more: Any) -> BatchView:
    return BatchView(
        name=f"{source.name}_by_{entity.name}",
        entities=(entity,),
        owner="tests",
        description="",
        freshness=GRID,
        source=source,
        aggregations=(Count(name="times", over=("15m", "24h", "total")), Last(name="last_at")),
        **more,
    )


VIEWS = [
    view(FOLLOWED, Entity("category", "category")),
    view(FOLLOWED, Entity("word", "word"), where="category <> 'p' OR ordinal > 0"),
    view(KEPT, Entity("category", "category")),
]
DEFINITIONS = Definitions(
    views={one.name: one for one in VIEWS}, on_demand={}, services={}, declared=(SEARCHES, PRODUCTS, FOLLOWED, KEPT)
)


class World:
    """What silver has of all histories, and what parents were first given."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.searches: dict[str, dict[str, Any]] = {}
        self.products: dict[int, str | None] = {}
        self.given: dict[str, tuple[int | None, str | None]] = {}

    def befall(self, lake: Lake, as_of: Any) -> None:
        """Parents come, come again, are corrected, moved or erased, and products change."""
        came = {id_: row for number in range(HISTORIES) for id_, row in self.parents(number, as_of)}
        gone = {id_ for id_, row in came.items() if row is None}
        changed = {
            number * 10 + self.random.randrange(3): self.random.choice(["p", "q", "r", None])
            for number in range(HISTORIES)
            if self.random.random() < 0.5
        }
        lost = {id_ for id_ in self.products if self.random.random() < 0.05} - {*changed}
        deliver(lake, SEARCHES.silver_table, *(row for row in came.values() if row), gone=gone)
        deliver(lake, PRODUCTS.silver_table, *(product(*one) for one in changed.items()), gone=lost)
        self.searches = {id_: row for id_, row in (self.searches | came).items() if row}
        self.products = {id_: one for id_, one in (self.products | changed).items() if id_ not in lost}

    def parents(self, number: int, as_of: Any) -> Iterator[tuple[str, dict[str, Any] | None]]:
        for _ in range(self.random.randrange(3)):
            id_ = f"{number}:s{self.random.randrange(3)}"
            query = " ".join(self.random.choices(["x", "y", "é"], k=self.random.randrange(1, 4)))
            row = search(
                id_,
                self.random.choice([query, query, query, None]),
                product=self.random.choice([number * 10, number * 10 + 1, number * 10 + 2, None]),
                ts=as_of - self.random.choice(AGES),
                user_id=self.random.choice(["u", "v"]),
            )
            yield id_, None if self.random.random() < 0.2 else row

    def expected(self, *, follow: bool) -> list[tuple[Any, ...]]:
        """The rows of a derived table, from scratch."""
        rows = []
        for id_, one in self.searches.items():
            category = self.products.get(one["product_id"]) if follow else self.given[id_][1]
            for number, word in enumerate(sorted(one["query"].split()) if one["query"] else []):
                rows.append((id_, number, one["ts"].replace(tzinfo=None), one["user_id"], category, word))
        return sorted(rows, key=repr)

    def give(self) -> None:
        """What each parent is given first, which it keeps while it names the same product."""
        before, self.given = self.given, {}
        for id_, one in self.searches.items():
            key = one["product_id"]
            kept = before.get(id_)
            self.given[id_] = kept if kept and kept[0] == key else (key, self.products.get(key))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_derived_rows_and_views_of_them_are_those_from_scratch_on_any_history(lake, monkeypatch):
    seed = int(os.environ.get("DERIVED_SEED", random.randrange(10**6)))
    world, as_of = World(seed), T
    for step in range(REFRESHES):
        as_of += world.random.choice([GRID, 5 * GRID, timedelta(hours=23)])
        world.befall(lake, as_of)
        if step == REFRESHES // 2:
            with dying(monkeypatch, commits=world.random.randrange(3), before=world.random.random() < 0.5):
                derive.run(lake, DEFINITIONS)
        done = derive.run(lake, DEFINITIONS)
        world.give()
        refreshed = gold.run(lake, DEFINITIONS, as_of=as_of)

        where = f"DERIVED_SEED={seed}, refresh {step}"
        for source in (FOLLOWED, KEPT):
            assert rows_of(lake, source, *COLUMNS) == world.expected(follow=source is FOLLOWED), (
                f"{where}, {source.name}"
            )
        assert {one.name: verify_view(lake, DEFINITIONS, one).differing for one in VIEWS} == dict.fromkeys(
            (one.name for one in VIEWS), 0
        ), where
        hows = {one.how for one in done.values()} | {one.how for one in refreshed.values()}
        assert not step or hows <= {INCREMENTAL, UNCHANGED}, where
