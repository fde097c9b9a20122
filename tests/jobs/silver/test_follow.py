"""Silver follows tables that others write, by whichever way leads from one version to the next."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import deltalake
import pyarrow as pa
import pytest
from delta.tables import DeltaTable
from pyspark.sql import functions as F

from jobs.silver import follow
from jobs.silver.follow import COMPARISON, UNCHANGED, RepeatedIds
from jobs.silver.merge import merge_unread
from tailrace.definitions import (
    DATE,
    FLOAT64,
    INT64,
    STRING,
    TIMESTAMP,
    Definitions,
    Delta,
    EventSource,
    Field,
    TableSource,
    Time,
)
from tailrace.lake import commit
from tailrace.lake.foreign_table import CHANGE_FEED, DATA_FILES, TableUnreadable
from tailrace.lake.maintenance import VACUUM
from tailrace.lake.session import configured
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import LandingError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOW = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
FIELDS = (
    Field("id", INT64),
    Field("title", STRING),
    Field("price", FLOAT64),
    Field("seen_at", TIMESTAMP),
    Field("tag", STRING, path="$.meta.tag"),
    Field("day", DATE),
)
PRODUCTS = TableSource(name="products", key="id", fields=FIELDS)


class Scene:
    """A table that somebody writes, and the silver of a source that reads it."""

    def __init__(self, spark, folder, source=PRODUCTS):
        self.spark, self.path = spark, str(folder / "marts" / source.name)
        self.lake = Lake(spark, str(folder / "lake"))
        self.declare(source)

    def declare(self, source):
        source = replace(source, read_from=Delta(self.path))
        [self.feed] = Definitions(views={}, on_demand={}, services={}, declared=(source,)).table_feeds

    def sql(self, text):
        return self.spark.sql(text.replace("$t", f"delta.`{self.path}`"))

    def rows(self, first, last, *, price="id"):
        """Rows with the ids from one to another."""
        columns = (
            "id",
            "concat('t', id) AS title",
            f"CAST({price} AS double) AS price",
            "timestamp'2026-03-01 09:08:07.123456' AS seen_at",
            "named_struct('tag', concat('g', id % 2)) AS meta",
            "date'2026-03-01' AS day",
            "'x' AS other",
        )
        return self.spark.range(first, last).selectExpr(*columns)

    def write(self, rows, mode="append", **options):
        rows.coalesce(1).write.format("delta").mode(mode).options(**options).save(self.path)

    def merge(self, rows):
        old = DeltaTable.forPath(self.spark, self.path).alias("old")
        old.merge(rows.alias("new"), "old.id = new.id").whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()

    def read(self):
        return follow.bring(self.lake, self.feed, now=NOW)

    def read_and_be_killed(self):
        """Read the table, and be killed before silver's commit."""
        killed = patch("tailrace.lake.commit.change", side_effect=KeyboardInterrupt)
        with killed, pytest.raises(KeyboardInterrupt):
            self.read()

    def follow(self, way, *, changed):
        """Read the table: by this way, with so many rows of silver that differ from before, and silver is as the table is."""
        found = self.read()
        self.check_equal()
        assert (found.way, found.changed) == (way, changed), found
        return found

    def check_equal(self):
        there = self.spark.read.format("delta").load(self.path)
        there = there.select(
            F.col("id").cast("bigint"), "title", F.col("price").cast("double"), "seen_at", "meta.tag", "day"
        )
        assert Counter(map(tuple, self.silver().collect())) == Counter(map(tuple, there.collect()))

    def silver(self):
        return self.lake.read(follow.silver_of(self.feed))

    def jobs(self):
        return self.spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs()


@pytest.fixture
def scene(spark, tmp_path):
    return Scene(spark, tmp_path)


def create(scene, **properties):
    given = ", ".join(f"'delta.{name}' = '{value}'" for name, value in properties.items())
    scene.sql(
        "CREATE TABLE $t (id BIGINT, title STRING, price DOUBLE, seen_at TIMESTAMP, meta STRUCT<tag: STRING>, day DATE, other STRING) "
        f"USING delta TBLPROPERTIES ({given})"
    )


def test_silver_follows_a_table_without_change_feed_whatever_is_done_to_it(scene):
    create(scene, enableDeletionVectors="true")
    scene.write(scene.rows(0, 20))
    first = scene.follow(COMPARISON, changed=20)
    assert (first.from_version, first.to_version, first.why) == (None, 1, "nothing was read before")
    before = scene.jobs()
    assert scene.read().way == UNCHANGED
    assert scene.jobs() == before

    scene.write(scene.rows(20, 25))
    scene.sql("DELETE FROM $t WHERE id IN (3, 4)")  # by a deletion vector
    appended = scene.follow(DATA_FILES, changed=7)
    assert (appended.came, appended.went, appended.why) == (5, 2, "the table has no change feed")

    scene.merge(scene.rows(0, 20, price="if(id = 7, 70, id)"))  # 3 and 4 come back, 7 differs, 17 are as they were
    DeltaTable.forPath(scene.spark, scene.path).optimize().executeCompaction()
    assert scene.follow(DATA_FILES, changed=3).came == 3
    scene.write(scene.rows(0, 25, price="if(id = 9, 90, id)"), "overwrite")
    scene.follow(DATA_FILES, changed=2)
    scene.sql("RESTORE TABLE $t TO VERSION AS OF 1")  # 9 is as it was, and 20 to 24 are gone
    scene.sql("ALTER TABLE $t ADD COLUMN extra STRING")
    scene.write(scene.rows(30, 31).withColumn("extra", F.lit("e")))
    scene.follow(DATA_FILES, changed=7)
    scene.write(scene.rows(0, 10), "overwrite")
    with configured(scene.spark, {"spark.databricks.delta.retentionDurationCheck.enabled": "false"} | VACUUM):
        DeltaTable.forPath(scene.spark, scene.path).vacuum(0)
    assert "is gone" in scene.follow(COMPARISON, changed=11).why

    scene.rows(0, 10, price="if(id = 1, 11, id)").createOrReplaceTempView("replacing")
    scene.sql("CREATE OR REPLACE TABLE $t USING delta AS SELECT * FROM replacing")
    assert "created anew" in scene.follow(COMPARISON, changed=1).why


def test_silver_follows_the_change_feed_as_long_as_it_leads_on(scene):
    create(scene, **{"enableChangeDataFeed": "true", "columnMapping.mode": "name"})
    scene.write(scene.rows(0, 20))
    scene.follow(COMPARISON, changed=20)

    scene.merge(scene.rows(0, 21))
    scene.sql("DELETE FROM $t WHERE id = 3")
    scene.sql("UPDATE $t SET other = 'y'")
    found = scene.follow(CHANGE_FEED, changed=2)
    assert (found.came, found.went, found.why) == (1, 1, None)

    without_feed = "'delta.enableChangeDataFeed' = 'false', 'delta.enableDeletionVectors' = 'true'"
    scene.sql(f"ALTER TABLE $t SET TBLPROPERTIES ({without_feed})")
    scene.sql("DELETE FROM $t WHERE id = 8")
    assert "turned the change feed off" in scene.follow(DATA_FILES, changed=1).why
    scene.sql("ALTER TABLE $t RENAME COLUMN price TO cost")
    with pytest.raises(TableUnreadable, match="'price'"):
        scene.read()
    scene.sql("ALTER TABLE $t RENAME COLUMN cost TO price")
    assert "has no column 'price'" in scene.follow(COMPARISON, changed=0).why


def test_silver_follows_what_delta_rs_writes(scene):
    def write(first, last, mode):
        ids = range(first, last)
        columns = {
            "id": pa.array(ids, pa.int32()),
            "title": [f"t{one}" for one in ids],
            "price": pa.array(ids, pa.float32()),
            "seen_at": pa.array([NOW.replace(tzinfo=None)] * len(ids), pa.timestamp("us")),
            "meta": [{"tag": "g"}] * len(ids),
            "day": [NOW.date()] * len(ids),
            "half": [one % 2 for one in ids],
        }
        deltalake.write_deltalake(scene.path, pa.table(columns), mode=mode, partition_by=["half"])

    write(0, 10, "error")
    scene.follow(COMPARISON, changed=10)
    write(10, 12, "append")
    scene.follow(DATA_FILES, changed=2)
    write(1, 12, "overwrite")
    scene.follow(DATA_FILES, changed=1)


SEARCHES = EventSource(
    name="searches",
    id="search_id",
    time=Time("ts", unit="ms"),
    fields=(Field("query", STRING, required=True), Field("rank", INT64, minimum=0)),
)
GOOD = "('s1', 1772400000000, 'shoes', 1)"
ODD = {
    "(NULL, 1772400000000, 'shoes', 1)": "search_id is missing",
    "('s2', 9000000000000000, 'shoes', 1)": "ts is not between the years 1900 and 2199",
    "('s3', 1772400000000, NULL, 1)": "query is missing",
    "('s4', 1772400000000, 'shoes', -1)": "rank is negative",
}


def test_odd_rows_go_to_quarantine_and_rows_that_share_an_id_stop_the_source(spark, tmp_path):
    scene = Scene(spark, tmp_path, SEARCHES)
    scene.sql("CREATE TABLE $t (Search_Id STRING, ts BIGINT, query STRING, rank INT) USING delta")
    scene.read()
    scene.sql(f"INSERT INTO $t VALUES {GOOD}, {', '.join(ODD)}")

    scene.read_and_be_killed()
    assert len(quarantined(scene)) == len(ODD)

    found = scene.read()

    assert (found.way, found.changed, found.quarantined) == (DATA_FILES, 1, 0)
    assert [(row.search_id, row.ts.replace(tzinfo=UTC)) for row in scene.silver().collect()] == [
        ("s1", datetime(2026, 3, 1, 21, 20, tzinfo=UTC))
    ]
    assert {row.reason: (row.file, row.batch) for row in quarantined(scene)} == dict.fromkeys(
        ODD.values(), (scene.path, 1)
    )

    scene.sql(f"INSERT INTO $t VALUES {GOOD}")
    with pytest.raises(RepeatedIds, match="search_id s1"):
        scene.read()
    scene.sql("INSERT INTO $t VALUES ('s5', 0, 'a', 1), ('s5', 0, 'b', 1)")
    rank = Field("rank", INT64, minimum=-5)  # read otherwise, so all of it is compared
    scene.declare(replace(SEARCHES, fields=(SEARCHES.fields[0], rank)))
    with pytest.raises(RepeatedIds, match="search_id s1; search_id s5"):
        scene.read()
    scene.sql("DELETE FROM $t WHERE search_id = 's5'")
    scene.sql(f"INSERT OVERWRITE $t VALUES {GOOD}, {', '.join(ODD)}")
    found = scene.read()
    assert (found.way, found.why, found.changed) == (COMPARISON, "the definition changed", 1)
    assert len(quarantined(scene)) == len(ODD)

    with pytest.raises(LandingError, match=r"silver\.searches has the rows of a table"):
        merge_unread(scene.lake, scene.feed.feed)
    scene.declare(replace(SEARCHES, fields=(Field("country", STRING),)))
    with pytest.raises(TableUnreadable, match="'country'"):
        scene.read()


def quarantined(scene):
    return scene.lake.read(bronze.QUARANTINE).collect()


def test_of_rows_without_ids_those_that_are_alike_are_one_until_the_last_went(spark, tmp_path):
    scene = Scene(spark, tmp_path, replace(SEARCHES, id=None))
    scene.sql("CREATE TABLE $t (ts BIGINT, query STRING, rank INT, n INT) USING delta")
    scene.sql("INSERT INTO $t VALUES (0, 'a', 1, 1), (0, 'a', 1, 2)")
    assert scene.read().changed == 1

    scene.sql("INSERT INTO $t VALUES (0, 'a', 1, 3), (0, 'b', 1, 4), (0, 'b', 1, 5)")
    found = scene.read()
    assert (found.way, found.came, found.changed) == (DATA_FILES, 3, 1)
    scene.sql("DELETE FROM $t WHERE n IN (1, 2, 3, 4)")
    found = scene.read()
    assert (found.way, found.changed) == (COMPARISON, 1)


def test_a_table_that_cannot_be_read_is_named_before_anything_is_read(scene):
    with pytest.raises(TableUnreadable, match="there is no Delta table"):
        scene.read()

    create(scene, enableDeletionVectors="false")
    clone = Scene(scene.spark, Path(scene.path).parent)
    scene.sql(f"CREATE TABLE delta.`{clone.path}` SHALLOW CLONE $t")
    with pytest.raises(TableUnreadable, match="shallow clone"):
        clone.read()

    landed = follow.silver_of(scene.feed)
    scene.lake.create(landed)
    commit.keep(scene.lake, landed, state={"batch": 1, "started_from": 0})
    with pytest.raises(TableUnreadable, match="rows that landed"):
        scene.read()

    log = Path(scene.path, "_delta_log")
    (log / f"{1:020}.json").write_text(
        '{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["fromTomorrow"],'
        '"writerFeatures":["fromTomorrow"]}}\n'
    )
    with pytest.raises(TableUnreadable, match="fromTomorrow"):
        scene.read()
