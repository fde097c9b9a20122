"""An aggregation and a type that are added from outside work wherever the shipped ones do."""

from datetime import UTC, datetime, timedelta

import pytest
from delta.tables import DeltaTable

from jobs.gold import refresh
from jobs.gold.verify import verify_view
from serving.read.columns import decoded
from tailrace.definitions import BatchView, Count, Definitions
from tailrace.lake.tables import Lake
from tailrace.quality.gate import Gate, GateFailed
from tailrace.shipped.entities import DOCUMENT
from tailrace.store.arrow import column_values
from tailrace.store.codec import Codec
from tests import feeds
from tests.tailrace.definitions.outside import INT32, Largest

T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
GRID = timedelta(minutes=15)
EVENT = {"event_id": "e1", "event_type": "view", "actor_id": "u1", "document_id": "d1", "occurred_at": T}
EVENT |= {"source": "drive", "attributes": '{"pages": 7}', "delivered_at": T + GRID, "file": "f", "line": 2, "batch": 3}

READ = BatchView(
    name="read",
    entities=(DOCUMENT,),
    owner="tests",
    description="",
    freshness=timedelta(hours=1),
    aggregations=(Largest(name="pages", of="pages"), Count(name="edits", types=("edit",), over=("1h",))),
)
DEFINITIONS = Definitions(views={"read": READ}, on_demand={}, services={})


def deliver(lake, **change):
    rows = lake.spark.createDataFrame([tuple((EVENT | change).values())], feeds.INTERACTIONS.ddl)
    lake.upsert(feeds.INTERACTIONS, rows, newer="true", state={})


def refreshed(lake, ticks):
    done = refresh.run(lake, DEFINITIONS, as_of=T + ticks * GRID)["read"]
    wrong = verify_view(lake, DEFINITIONS, READ).differing
    rows = lake.read(READ.table).select("document_id", *READ.feature_names).collect()
    return done.how, wrong, [tuple(row) for row in rows]


@pytest.mark.slow
def test_an_aggregation_from_outside_is_computed_maintained_settled_and_gated(lake, tmp_path):
    lake = Lake(lake.spark, lake.root, gate=Gate(tmp_path / "quality"))
    for table in feeds.DEFINITIONS.silver_tables.values():
        lake.create(table)
    deliver(lake)
    assert refreshed(lake, 0) == ("full", 0, [("d1", 7, 0)])

    deliver(lake, event_id="e2", attributes='{"pages": 9}', event_type="edit")
    assert refreshed(lake, 1) == ("incremental", 0, [("d1", 9, 1)])

    DeltaTable.forPath(lake.spark, lake.path(feeds.INTERACTIONS)).delete("event_id = 'e2'")
    assert refreshed(lake, 2) == ("incremental", 0, [("d1", 7, 0)])

    gold = lake.read(READ.table).select(*READ.feature_names).toArrow()
    columns = [column_values(gold[one.name].combine_chunks(), one) for one in READ.features]
    codec = Codec("read", READ.features)
    pages, _ = decoded(codec, codec.encode(columns, as_of=1), READ.features)
    assert (str(pages.type), str(pages.values.dtype), pages.values.tolist()) == (INT32, "int32", [7])

    deliver(lake, event_id="e3", document_id="d2", attributes='{"pages": 0}')
    with pytest.raises(GateFailed, match="pages > 0"):
        refreshed(lake, 3)
