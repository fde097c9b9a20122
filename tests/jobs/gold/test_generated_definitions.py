"""Generated definitions on random histories: what is brought forward by increments is what plain Python expects.

Sources with ids of each kind and keys of each type, sources that are derived of them with look-ups, conditions, windows. All
sets of definitions are in one lake, and all histories in the same tables. GENERATED_SETS, GENERATED_HISTORIES,
HISTORY_REFRESHES and HISTORY_ROUNDS make it longer, HISTORY_SEED repeats a run.
"""

import json
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import reduce
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.gold import refresh
from jobs.gold.compute import aggregate, differing_keys
from jobs.silver import derive
from sinks.net_changes import online_rows, packer
from sinks.push import push_views
from sinks.reconcile import GoldSource, Reconciled, reconcile
from tailrace.definitions import BatchView
from tailrace.definitions.batch_view import INTERACTIONS
from tailrace.lake.session import materialized
from tailrace.lake.tables import Lake
from tailrace.schemas.slots import GRID, to_micros
from tailrace.schemas.tables import Table
from tailrace.store import embedded
from tailrace.store.address import Address, with_store
from tailrace.store.port import TOMBSTONE, Store
from tests.jobs.gold.drawn_definitions import drawn
from tests.jobs.gold.drawn_histories import STEPS, World
from tests.jobs.gold.oracle import as_json
from tests.jobs.kills import dying

SETS = int(os.environ.get("GENERATED_SETS", "8"))
HISTORIES = int(os.environ.get("GENERATED_HISTORIES", "40"))
REFRESHES = int(os.environ.get("HISTORY_REFRESHES", "4"))
ROUNDS = int(os.environ.get("HISTORY_ROUNDS", "1"))
JSON_OPTIONS = {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'"}
SHOWN = 5


class Proof:
    """A lake that drawn histories are played in, refresh by refresh."""

    def __init__(self, lake: Lake, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lake = lake
        self.choose = random.Random(seed)
        self.drawn = drawn(self.choose, sets=SETS)
        self.definitions = self.drawn.definitions
        self.world = World(self.drawn, self.choose, histories=HISTORIES)
        self.monkeypatch = monkeypatch
        self.hows: list[set[str]] = []

    def step(self, *, killed: str | None = None) -> None:
        """Time passes, things come, and a refresh follows, after one that was killed where that is asked for."""
        self.world.as_of += self.choose.choice(STEPS)
        self.world.deliver(self.lake)
        if killed:
            self.refresh_killed(killed)
        self.refresh()

    def refresh_killed(self, layer: str) -> None:
        """A refresh that is killed in a layer, after which more may come."""
        with dying(self.monkeypatch, commits=self.choose.randrange(3), before=self.choose.random() < 0.5):
            derive.run(self.lake, self.definitions)
        self.refresh_derived()
        if layer == "gold":
            with dying(self.monkeypatch, commits=self.choose.randrange(6), before=self.choose.random() < 0.5):
                refresh.run(self.lake, self.definitions, as_of=self.world.as_of)
            self.world.as_of += self.choose.choice((0, 1)) * GRID
            self.world.deliver(self.lake)

    def refresh_derived(self) -> None:
        done = derive.run(self.lake, self.definitions)
        self.world.derive()
        self.hows.append({one.how for one in done.values()})

    def refresh(self) -> None:
        self.refresh_derived()
        done = refresh.run(self.lake, self.definitions, as_of=self.world.as_of)
        self.hows.append({one.how for one in done.values()})

    def differing(self) -> list[tuple[str, Any, Any]]:
        """Rows of gold and of derived sources that are not as expected: by table, as expected, and as they are."""
        tables = {view.name: view.table for view in self.drawn.views}
        tables |= {source.name: source.silver_table for source in self.drawn.derived}
        expected, found = self.world.expected(), rows_in(self.lake, tables)
        wrong = []
        for name, table in tables.items():
            columns = [one for one in table.columns if not one.startswith("_") or one == INTERACTIONS.name]
            right = {as_text(as_json(row, columns)) for row in expected[name].values()}
            there = {as_text({column: row[column] for column in row if column in columns}) for row in found[name]}
            wrong += [(name, "missing", one) for one in right - there] + [(name, "wrong", one) for one in there - right]
        return wrong

    @contextmanager
    def computed_in_full(self) -> Iterator[dict[str, DataFrame]]:
        """The rows of every view as Spark computes them from all of silver."""
        found: dict[str, DataFrame] = {}
        with ExitStack() as stack:
            for view in self.drawn.views:
                events = self.lake.read(view.event_source.silver_table)
                rows = aggregate(events, view, as_of=self.world.as_of, base_rows=found)
                found[view.name] = stack.enter_context(materialized(rows)).frame
            yield found

    def differing_from(self, full: dict[str, DataFrame]) -> list[tuple[Any, ...]]:
        """The keys of views whose rows differ in any column, those that gold keeps for itself included."""
        pairs = [
            (view, differing_keys(self.lake.read(view.table), full[view.name], view.table)) for view in self.drawn.views
        ]
        named = [keys.select(F.lit(view.name), F.to_json(F.struct("*"))) for view, keys in pairs]
        return [tuple(row) for row in reduce(DataFrame.union, named).collect()]

    def packed(self, view: BatchView, full: dict[str, DataFrame]) -> dict[str, bytes | None]:
        """The bytes of each item of a view, as the full computation gives them."""
        rows = online_rows(full[view.name], view).toArrow()
        pack = packer(view.name, view.features, as_of=to_micros(self.world.as_of))
        return dict(zip(rows["item_key"].to_pylist(), pack(rows["now"].combine_chunks()), strict=True))


def stored(address: Address, view: BatchView) -> dict[str, bytes | None]:
    """The bytes of each item of a view in a store."""

    async def read(store: Store) -> dict[str, bytes | None]:
        return {
            key: value
            async for page in store.scan_values(view.name)
            for key, value in page.items()
            if value != TOMBSTONE
        }

    return with_store(address, read)


def rows_in(lake: Lake, tables: Mapping[str, Table]) -> dict[str, list[dict[str, Any]]]:
    """All rows of several tables, by name, in one job."""
    named = [
        lake.read(table).select(F.lit(name).alias("table"), F.to_json(F.struct("*"), JSON_OPTIONS).alias("row"))
        for name, table in tables.items()
    ]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in tables}
    for name, row in reduce(DataFrame.union, named).collect():
        found[name].append(json.loads(row))
    return found


def as_text(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True)


@pytest.fixture
def address(make_settings):
    url = embedded.start(make_settings()).url
    return Address(url=url, region="us-east-1", table="proof", in_flight=2, writes="transactions", lease_seconds=30)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_increments_come_to_what_is_expected_with_any_definitions(lake, address, monkeypatch, round_):
    seed = int(os.environ.get("HISTORY_SEED", random.randrange(10**6)))
    proof = Proof(lake, seed, monkeypatch)
    kills = dict(zip(proof.choose.sample(range(1, REFRESHES), REFRESHES - 1), ("silver", "gold"), strict=False))
    for step in range(REFRESHES):
        proof.step(killed=kills.get(step))

        wrong = proof.differing()
        assert not wrong, f"HISTORY_SEED={seed}, refresh {step}: {wrong[:SHOWN]} of {len(wrong)}"
    assert set[str]().union(*proof.hows[2:]) <= {refresh.UNCHANGED, refresh.INCREMENTAL}

    # And so are the full computation, in every column, and the values in the store, byte for byte.
    views = proof.drawn.views
    pushed = push_views(lake, address, views)
    with proof.computed_in_full() as full:
        assert not proof.differing_from(full), f"HISTORY_SEED={seed}"
        packed = {view.name: proof.packed(view, full) for view in views}
    assert {view.name: stored(address, view) for view in views} == packed, f"HISTORY_SEED={seed}"
    assert {name: one.pushed for name, one in pushed.items()} == {name: len(values) for name, values in packed.items()}
    found = {view.name: reconcile(GoldSource(lake=lake, address=address, view=view))[view.name] for view in views}
    assert found == {name: Reconciled(compared=len(values)) for name, values in packed.items()}
