"""A home whose sources read tables that others write: from their commits to the store, and what reports say of it."""

import textwrap
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from tailrace.workspace.workspace import Workspace

DEFINITIONS = """
from datetime import timedelta

from tailrace import INT64, STRING, Count, Delta, Entity, EventSource, FeatureView, Field, Time

searches = EventSource(
    name="searches", id="search_id", time=Time("ts"), read_from=Delta("{folder}/searches"),
    fields=(Field("query", STRING), Field("product_id", INT64)),
)
query_counts = FeatureView(
    name="query_counts", entities=(Entity("query", "query", "what is asked"),), source=searches, owner="search",
    description="How often.", freshness=timedelta(hours=1), aggregations=(Count(name="asked", over=("24h", "total")),),
)
"""
AS_OF = "2026-03-10T11:00:00Z"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rows_of_tables_reach_the_store_and_go_when_they_go_there(
    spark: SparkSession, make_settings: Any, tmp_path: Any
):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "searching.py").write_text(textwrap.dedent(DEFINITIONS).replace("{folder}", str(tmp_path)))
    workspace = Workspace(settings=make_settings(TAILRACE_FEATURES=str(tmp_path / "features")))
    searches = spark.range(13).selectExpr(
        "if(id < 12, concat('s', id), null) AS search_id",
        "timestamp'2026-03-10 10:00:00' AS ts",
        "concat(if(id < 6, 'red', 'blue'), ' ', 'car') AS query",
        "id % 2 AS product_id",
    )
    searches.coalesce(1).write.format("delta").save(f"{tmp_path}/searches")

    first = workspace.refresh(as_of=AS_OF).json()
    found = {name: (one["way"], one["changed"], one["quarantined"]) for name, one in first["tables"].items()}
    assert found == {"searches": ("comparison", 12, 1)}
    assert workspace.get("query_counts", "red car") == {"asked_24h": 6, "asked_total": 6}

    table = DeltaTable.forPath(spark, f"{tmp_path}/searches")
    merge = table.alias("old").merge(searches.where("search_id <> 's0'").alias("new"), "old.search_id = new.search_id")
    merge.whenMatchedUpdateAll().execute()
    table.delete("search_id = 's0'")
    assert not workspace.run_layer("bronze")["all_read"]
    second = workspace.refresh(as_of=AS_OF).json()
    read = second["tables"]["searches"]
    assert (read["way"], read["from_version"], read["to_version"]) == ("data files", 0, 2)
    assert (read["came"], read["went"], read["changed"]) == (0, 1, 1)
    view = second["views"]["query_counts"]
    assert (view["computed"], view["changed"], view["pushed"]) == ("incremental", 1, 1)
    assert workspace.get("query_counts", "red car") == {"asked_24h": 5, "asked_total": 5}

    shown = workspace.readings()["searches"]
    assert {name: read[name] for name in shown if name in read} == {name: shown[name] for name in shown if name in read}
    assert workspace.diff()["sources"]["searches"]["change"] == "unchanged"
    assert workspace.run_layer("bronze")["all_read"]
    assert workspace.verify()["differing"] == 0
    compared = workspace.reconcile()
    assert (compared["missing"], compared["ghost"], compared["different"]) == (0, 0, 0)
    assert table.history().count() == 3
