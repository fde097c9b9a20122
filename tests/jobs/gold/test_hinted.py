from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from delta.tables import DeltaTable

from jobs.gold import named_keys, refresh
from jobs.gold.compute import TransformError
from tailrace.definitions import BatchView, Definitions, Feature, Type
from tailrace.lake.tables import Lake
from tailrace.shipped.entities import DOCUMENT
from tests import feeds
from tests.tailrace.lake.copies import copied

T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
GRID = timedelta(minutes=15)

ROW = {"document_id": "d1", "title": "Plan", "type": "pdf", "size_bytes": 7, "folder": "/a", "owner": "u3"}
ROW |= {"updated_at": T, "delivered_at": T + GRID, "file": "f", "line": 4, "batch": 5}


def siblings(documents):
    """How many documents lie in the same folder."""
    counts = documents.groupBy("folder").agg({"*": "count"}).withColumnRenamed("count(1)", "siblings")
    return documents.join(counts, on="folder", how="inner").select("document_id", "owner", "siblings")


FACTS = BatchView(
    name="facts",
    entities=(DOCUMENT,),
    owner="tests",
    description="",
    freshness=timedelta(hours=1),
    transform=lambda documents: documents.select("document_id", "owner"),
    transform_features=(Feature("owner", Type.STRING, "who owns it"),),
    changed_keys=lambda documents: documents.select("document_id"),
)
SIBLINGS = replace(
    FACTS, transform=siblings, transform_features=(*FACTS.transform_features, Feature("siblings", Type.INT64, "count"))
)


@pytest.fixture(scope="module")
def original(spark, tmp_path_factory):
    lake = Lake(spark, str(tmp_path_factory.mktemp("original")))
    lake.create(feeds.INTERACTIONS)
    deliver(lake, {}, {"document_id": "d2"}, {"document_id": "d3", "owner": None})
    return lake


@pytest.fixture
def documents(original, lake):
    return copied(original, lake)


def deliver(lake, *changes):
    rows = lake.spark.createDataFrame([tuple((ROW | change).values()) for change in changes], feeds.DOCUMENT_FACTS.ddl)
    lake.upsert(feeds.DOCUMENT_FACTS, rows, newer="true", state={})


def bring(lake, view, as_of=T):
    done = refresh.run(lake, Definitions(views={"facts": view}, on_demand={}, services={}), as_of=as_of)["facts"]
    return done.how, done.changed


def owners(lake):
    return {row.document_id: row.owner for row in lake.read(FACTS.table).collect()}


@pytest.mark.slow
def test_only_the_keys_that_changed_are_computed_and_only_differences_are_written(documents):
    assert bring(documents, FACTS) == ("full", 3)
    deliver(documents, {"document_id": "d2", "owner": "u9"}, {"document_id": "d3", "owner": None, "title": "New"})
    deliver(documents, {"document_id": "d4"})

    assert bring(documents, FACTS, as_of=T + GRID) == ("incremental", 2)
    assert owners(documents) == {"d1": "u3", "d2": "u9", "d3": None, "d4": "u3"}


@pytest.mark.slow
def test_a_row_that_the_transform_no_longer_gives_goes(documents):
    bring(documents, FACTS)
    DeltaTable.forPath(documents.spark, documents.path(feeds.DOCUMENT_FACTS)).delete("document_id = 'd2'")

    assert bring(documents, FACTS) == ("incremental", 1)
    assert owners(documents) == {"d1": "u3", "d3": None}


@pytest.mark.slow
def test_a_hint_that_leaves_out_what_changed_is_caught_and_gold_stays(documents, monkeypatch):
    monkeypatch.setattr(named_keys, "SAMPLED", 1)
    bring(documents, SIBLINGS)
    version = documents.version(FACTS.table)
    deliver(documents, {"document_id": "d1", "folder": "/b"})

    with pytest.raises(
        TransformError, match=r"view 'facts': its changed_keys did not name d[23]; d[23], which changed"
    ):
        bring(documents, SIBLINGS, as_of=T + GRID)

    assert documents.version(FACTS.table) == version


def test_each_key_is_in_one_of_so_many_samples(spark):
    keys = spark.range(200).selectExpr("CAST(id AS STRING) AS document_id")

    sampled = [keys.where(named_keys.is_sampled(FACTS, part)).count() for part in range(named_keys.SAMPLED)]

    assert sum(sampled) == 200


def test_every_sample_is_checked_also_where_the_table_changes_at_the_same_hour_of_each_day():
    turns = [named_keys.turn_of(96 * day) for day in range(1000)]

    checked = [turn // named_keys.SAMPLED % named_keys.SAMPLED for turn in turns if turn % named_keys.SAMPLED == 0]

    assert set(checked) == set(range(named_keys.SAMPLED))


@pytest.mark.slow
def test_a_hint_without_the_key_is_refused(documents):
    bring(documents, FACTS)
    deliver(documents, {})
    wrong = replace(FACTS, changed_keys=lambda documents: documents.select("owner"))

    with pytest.raises(TransformError, match="its changed_keys returns no column 'document_id'"):
        bring(documents, wrong)
