"""A stream over a source of one's own counts what a plain count in Python does, with missing keys and conditions."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyspark.sql import functions as F

from jobs import backfill
from jobs.bronze import load
from jobs.bronze.lines import validate_lines
from jobs.bronze.load import Intake
from jobs.streaming.checkpoint import remember_views
from jobs.streaming.event_rows import EventRows, counts_somewhere
from jobs.streaming.fast_path import FAR, OtherDefinition, plain_event, settled_states, unpack_states
from jobs.streaming.recount import recount_pairs, recount_rollups
from jobs.streaming.repair import RecountSource, StreamInput
from jobs.streaming.run import fingerprints_of, refuse_other_definitions
from sinks.reconcile import reconcile
from tailrace.definitions.stream_view import MICROS_PER_MINUTE, rings_of
from tailrace.errors import CommandError
from tailrace.schemas import view_tables
from tailrace.schemas.landing import LandingError
from tailrace.schemas.slots import to_micros
from tailrace.settings import read_settings
from tailrace.workspace import lane_plan
from tailrace.workspace.lane_plan import Terms, finest_cost, finest_words, item_bytes
from tailrace.workspace.undefined import refuse_defined, undefined
from tests.jobs.streaming.folder_stream import Stream
from tests.jobs.streaming.own_source import definitions_in, search
from tests.tailrace.lake.copies import copied

START = 29_000_000  # minutes since 1970
SEARCH = st.fixed_dictionaries(
    {
        "number": st.integers(0, 12),
        "query": st.sampled_from([None, "a", "b"]),
        "product": st.sampled_from([None, 7, -8]),
        "rank": st.sampled_from([None, 1, 3, 4]),
        "kind": st.sampled_from([None, "show", "click"]),
        "minute": st.integers(0, 90),
    }
)


@pytest.fixture(scope="module", params=[False, True], ids=["derived", "declared"])
def definitions(request, tmp_path_factory):
    return definitions_in(tmp_path_factory.mktemp("own") / "features", declared=request.param)


def first_deliveries(searches):
    """Each number once for each query and product; what none of the views counts is not there."""
    found = dict[Any, Any]()
    for one in searches:
        if one["query"] is not None or one["product"] is not None:
            found.setdefault((one["number"], one["query"], one["product"]), one)
    return list(found.values())


def expected(searches, now, *, declared):
    """By view and key, the values at a minute."""
    views: dict[str, Any] = {"queries": {}, "products": {}, "top": {}} | ({"shown": {}} if declared else {})
    for one in searches:
        query, product = one["query"], one["product"]
        if query is not None:
            views["queries"].setdefault(query, []).append(one)
        if product is not None:
            views["products"].setdefault(product, []).append(one)
        if None not in (query, product) and one["rank"] is not None and one["rank"] <= 3:
            views["top"].setdefault((query, product), []).append(one)
        if declared and None not in (query, product):
            views["shown"].setdefault((query, product), []).append(one)
    return {
        name: {key: VALUES[name](of_key, now, declared) for key, of_key in keys.items()} for name, keys in views.items()
    }


def within(one, now, width, buckets):
    return 0 <= now // width - one["minute"] // width < buckets


def clicks(searches):
    return [one for one in searches if one["kind"] == "click"]


def of_products(searches, now, declared):
    values = {"clicks_15m": (1, 15), "clicks_1h": (5, 12)}
    counted = {name: sum(within(one, now, *ring) for one in clicks(searches)) for name, ring in values.items()}
    last = dict[str, int]()
    for one in searches:
        if one["query"] is not None:
            last[one["query"]] = max(last.get(one["query"], 0), one["minute"])
    partners = sum(within({"minute": minute}, now, 1, 15) for minute in last.values())
    return counted | ({"partners_15m": partners} if declared else {})


VALUES = {
    "queries": lambda searches, now, _: {"asked_15m": sum(within(one, now, 1, 15) for one in searches)},
    "products": of_products,
    "top": lambda searches, now, _: {
        "shown_15m": sum(within(one, now, 1, 15) for one in searches),
        "clicked_at": max((one["minute"] for one in clicks(searches)), default=0),
    },
    "shown": lambda searches, *_: {"shown_at": max(one["minute"] for one in searches)},
}


def values_of(view, value, now):
    """What a ranker gets of a stored value at a minute; times as minutes."""
    state = unpack_states(view, [bytes(value)])
    moment = np.datetime64(now, "m").astype("datetime64[us]")
    found = {
        ring.name: int(ring.value_at(state["_minute"], [state[c.name] for c in ring.columns], moment)[0])
        for ring in rings_of(view.aggregations)
    }
    return found | {name: int(state[name][0]) // MICROS_PER_MINUTE for name in view.public_names}


def item(view, key):
    """The item key of a query, a product, or both."""
    ids = (key,) if not isinstance(key, tuple) else key
    return (
        "+".join(sorted(one.name for one in view.entities))
        + "|"
        + "".join(f"{len(str(one))}:{one}" for one in ids_by_name(view, ids))
    )


def ids_by_name(view, ids):
    return [ids[place] for place in sorted(range(len(ids)), key=lambda place: view.entities[place].name)]


def recounted(definitions, batches, now):
    """By view and item key, the values after batches that came one after another."""
    views = definitions.streamed
    rows = pd.DataFrame(
        [
            {
                "key_query": one["query"] or "",
                "key_product_id": "" if one["product"] is None else str(one["product"]),
                "id": f"1:s{len(str(one['number']))}:{one['number']}",
                "type": one["kind"] or "",
                "at": one["minute"] * MICROS_PER_MINUTE + 7,
                "in_top": one["rank"] is not None and one["rank"] <= 3,
                "appended": number,
                "moment": number,
                "place": f"{place:04}",
            }
            for number, batch in enumerate(batches)
            for place, one in enumerate(batch)
        ]
    )
    rows = rows[counts_somewhere(rows, views)] if len(rows) else rows
    if rows.empty:
        return {view.name: {} for view in definitions.stream_views.values()}
    pairs = recount_pairs([pa.RecordBatch.from_pandas(rows, preserve_index=False)], views, settled_states)
    found = dict[Any, Any]()
    for part in recount_rollups(list(pairs), views[1:], settled_states):
        for row in part.to_pylist():
            moment, _ = found.get((row["view"], row["item_key"]), (-1, None))
            if row["moment"] >= moment:
                found[row["view"], row["item_key"]] = row["moment"], row["value"]
    return {
        name: {key: values_of(view, value, now) for (of, key), (_, value) in found.items() if of == name}
        for name, view in definitions.stream_views.items()
    }


def readable(items):
    """Without items of events that lack a key of the finest view, which nobody can ask for."""
    return {key: values for key, values in items.items() if "|0:" not in key and not key.endswith("0:")}


def asked(number, query, product, rank=1):
    return {"number": number, "query": query, "product": product, "rank": rank, "kind": "click", "minute": 80}


@example([[asked(0, None, 7)], [asked(1, "a", None), asked(2, "a", 7, rank=4)], [asked(3, None, None)]], 85)
@given(st.lists(st.lists(SEARCH, max_size=6), max_size=5), st.integers(85, 160))
def test_values_are_those_of_a_plain_count(definitions, batches, later):
    batches = [[one | {"minute": START + one["minute"]} for one in batch] for batch in batches]
    first = dict[Any, Any]()
    batches = [
        [first.setdefault((one["number"], one["query"], one["product"]), one) for one in batch] for batch in batches
    ]
    counted = first_deliveries([one for batch in batches for one in batch])
    views, now = definitions.stream_views, START + later

    found = {name: readable(items) for name, items in recounted(definitions, batches, now).items()}

    plain = expected(counted, now, declared="shown" in views)
    assert found == {
        name: {item(views[name], key): values for key, values in keys.items()} for name, keys in plain.items()
    }


ODD = [
    "null",
    "7",
    "-7",
    "0",
    "-0",
    "1.0",
    "1e2",
    "9" * 18,
    "9" * 19,
    '"7"',
    '""',
    '"a"',
    '"é"',
    '"A b"',
    "true",
    "false",
    "[]",
]
ODD += [
    "[8]",
    "{}",
    '{"a":1}',
    '"2026-03-02"',
    '"2026-02-30"',
    '"0999-01-01"',
    "9.5",
    "9.6",
    "-1",
    "1772442900123",
    "-1500",
    "1e400",
]
ODD += [
    '"2026-03-02T09:15:00Z"',
    '{"ms":7}',
    '{"ms":1772442900123}',
    '{"q":7,"shown":[]}',
    '{"q":"","shown":7}',
    '{"shown":{"0":7}}',
]


def any_search(choose):
    """A line, mostly with something odd in a field."""
    line = search(choose.randrange(9), ms=1_772_442_900_123, place="p", weight=0.5, paid=True, day="2026-03-02")
    texts = {name: json.dumps(value) for name, value in line.items()}
    for _ in range(choose.choice([0, 1, 1, 2])):
        texts[choose.choice([*texts])] = choose.choice(ODD)
    for _ in range(choose.choice([0, 0, 1])):
        del texts[choose.choice([*texts])]
    return ("{" + ",".join(f'"{name}":{text}' for name, text in texts.items()) + "}").encode()


def test_whatever_is_plain_of_it_is_usable_by_the_rules_of_bronze_and_says_the_same(spark, tmp_path):
    seed = random.randrange(10**6)
    choose = random.Random(seed)
    lines = [any_search(choose) for _ in range(2_000)]
    rows = EventRows.of(definitions_in(tmp_path / "features"))
    frame = spark.createDataFrame(list(enumerate(lines)), "number bigint, bytes binary")
    judged = validate_lines(
        frame.select(F.struct("number").alias("_n"), F.col("bytes").cast("string").alias("value")), rows.feed, now=FAR
    )
    names = [name for name in rows.names if not name.startswith("in_")]
    found = judged.select("_n.number", "reason", F.struct(*rows.columns()).alias("row")).collect()
    by_rules = {one.number: None if one.reason else tuple(one.row[name] for name in names) for one in found}

    plain = {place: rows.row_of(facts) for place, line in enumerate(lines) if (facts := plain_event(line, rows.feed))}

    for place, row in plain.items():
        assert row == by_rules[place], f"seed {seed}: {lines[place]!r}"
    assert len(plain) > len(lines) / 6
    assert sum(row is None for row in by_rules.values()) > len(lines) / 6


class Lane:
    """A stream of the source's folder, and a lake that loads it."""

    def __init__(self, stream, lake):
        self.stream, self.lake = stream, lake
        self.input = StreamInput(
            rows=EventRows.of(stream.definitions),
            topic=None,
            folder=str(stream.folder / stream.source),
            checkpoint=Path(stream.checkpoint),
        )

    def load(self):
        intake = Intake(folder=str(self.stream.folder), feeds=self.stream.definitions.feeds, topics=())
        return load.run(self.lake, intake, now=datetime.now(UTC))

    def recount(self):
        return RecountSource(lake=self.lake, address=self.stream.address, input=self.input, load=self.load)

    def reconcile(self):
        """How many keys were compared of each view, and how many were not as they should be."""
        found = reconcile(self.recount(), repair=False)
        return {name: (one.compared, one.missing + one.ghost + one.different) for name, one in found.items()}

    def history(self, now):
        """What a backfill recorded last of each key, as a ranker would have got it."""
        definitions, times = self.stream.definitions, [datetime.now(UTC)]
        for table in definitions.silver_tables.values():
            self.lake.create(table)
        backfill.run(self.lake, definitions, definitions.stream_views, times, id_="b", progress=lambda _: None)
        found = dict[str, Any]()
        for name, view in definitions.stream_views.items():
            rows = (
                self.lake.read(view_tables.history_table(name)).where("item_key IS NOT NULL").orderBy("as_of").collect()
            )
            found[name] = {row.item_key: values_of(view, row.value, now) for row in rows}
        return found

    def values(self, now):
        """By view and key, what rankers get; of views that somebody declared."""
        return {
            name: {key: values_of(view, self.stream.stored(name, key), now) for key in self.stream.keys(name)}
            for name, view in self.stream.definitions.stream_views.items()
        }


def landed(number, ago, **facts):
    """A search some minutes ago, as the model has it and as a line."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=ago)
    micros = to_micros(at)
    one = {"number": number, "query": "shoes", "product": 7, "rank": 1, "kind": "show"} | facts
    return one | {"minute": micros // MICROS_PER_MINUTE}, search(**one, ms=micros // 1_000, place="here")


@pytest.mark.slow
def test_a_stream_of_it_agrees_with_the_count_and_with_bronze_and_is_rebuilt(
    spark, empty_tables, lake, make_settings, tmp_path
):
    stream = Stream(spark, make_settings(), tmp_path, definitions_in(tmp_path / "features"))
    lane = Lane(stream, copied(empty_tables, lake))
    first = [
        landed(0, 2),
        landed(1, 3, rank=4, kind="click"),
        landed(2, 4, product=-8, kind="click"),
        landed(3, 9, query=None),
    ]
    later = [first[0], landed(4, 20, kind="click"), landed(5, 1, product=None), landed(6, 1, query="é", rank=None)]
    later += [landed(7, 1, query=None, product=None)]
    for part in (first, later):
        stream.land(*(line for _, line in part), "no search", {"session": "s"})
        stream.run()

    now = to_micros(datetime.now(UTC)) // MICROS_PER_MINUTE
    plain = expected(first_deliveries([one for part in (first, later) for one, _ in part]), now, declared=False)
    views = stream.definitions.stream_views
    plain = {name: {item(views[name], key): values for key, values in keys.items()} for name, keys in plain.items()}
    assert lane.values(now) == plain
    counts = {name: (len(keys), 0) for name, keys in plain.items()} | {"stream_of_searches": (5, 0)}
    assert lane.reconcile() == counts
    assert lane.recount().write_all() == {name: count for name, (count, _) in counts.items()}
    assert lane.values(now) == plain
    assert lane.reconcile() == counts
    assert lane.history(now) == plain


def test_a_stream_follows_the_topic_that_its_source_names(tmp_path):
    definitions = definitions_in(tmp_path / "features", read_from="read_from=Kafka('shop'),")

    found = StreamInput.of(read_settings({"TAILRACE_KAFKA": "one:9092", "TAILRACE_HOME": str(tmp_path)}), definitions)

    assert (found.topic, found.rows.feed.name) == ("shop", "searches")
    with pytest.raises(LandingError, match="'searches' reads the topic shop; set TAILRACE_KAFKA"):
        StreamInput.of(read_settings({"TAILRACE_HOME": str(tmp_path)}), definitions)


def test_the_view_that_nobody_declares_is_known_to_the_stream_and_is_not_left_over(tmp_path):
    definitions = definitions_in(tmp_path / "features")
    kept = fingerprints_of(definitions)

    assert kept.keys() == {"stream_of_searches", "products", "queries", "top"}
    assert undefined(definitions, kept, ["gone"]) == ["gone"]
    with pytest.raises(CommandError, match="stream_of_searches is defined"):
        refuse_defined(definitions, "stream_of_searches")
    remember_views(tmp_path / "checkpoint", kept | {"stream_of_searches": "of other keys"})
    with pytest.raises(OtherDefinition, match=r"stream_of_searches is defined otherwise .* run `tailrace rebuild`,"):
        refuse_other_definitions(tmp_path / "checkpoint", definitions)


def test_the_view_that_nobody_declares_costs_a_write_for_each_event_of_its_keys(tmp_path, monkeypatch):
    view, terms = definitions_in(tmp_path / "features").finest, Terms(interval=timedelta(minutes=15), price=1.0)
    before: Any = None
    after: Any = (3.0, 2.0)
    monkeypatch.setattr(lane_plan, "newest_events", lambda lake, _: lake)
    assert finest_cost(before, view, terms)["dollars_per_month"] is None

    found = finest_cost(after, view, terms)

    assert (found["view"], found["declared"], found["keys"]) == ("stream_of_searches", False, ["product_id", "query"])
    assert (found["items_per_day"], found["writes_per_day"]) == (2.0, 3.0)
    assert found["value_bytes"] == round(item_bytes(view, 1.5))
    assert found["dollars_per_month"] == 0.0001  # 90 writes
    assert "2 in a day" in finest_words(found)
