import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from delta.tables import DeltaTableBuilder
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import functions as F

from tailrace.lake import tables
from tailrace.lake.tables import Lake, LakeError
from tailrace.schemas import bronze
from tailrace.schemas.tables import Column, Table, Type
from tests import feeds

AT = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)

THINGS = Table(
    layer="silver",
    name="things",
    fields=(
        Column("thing_id", Type.STRING, "the thing", nullable=False),
        Column("size", Type.INT64, "its size"),
        Column("at", Type.TIMESTAMP, "when", nullable=False),
    ),
    key=("thing_id",),
    checks=("size is null or size >= 0", "size is null or size < 1000"),
    statistics=("at",),
    change_feed=True,
    rows_change=True,
)


def things(spark, *sizes):
    rows = [(f"t{number}", size, AT) for number, size in enumerate(sizes)]
    return spark.createDataFrame(rows, THINGS.ddl.replace(" NOT NULL", ""))


def commit(lake, table, version):
    """What a commit of the Delta log says, by kind of action."""
    text = Path(lake.path(table), "_delta_log", f"{version:020}.json").read_text()
    return {kind: action for line in text.splitlines() for kind, action in json.loads(line).items()}


def properties(lake, table):
    """Those of the newest commit that says them."""
    entries = [commit(lake, table, version) for version in range(lake.version(table) + 1)]
    [*_, metadata] = [entry["metaData"] for entry in entries if "metaData" in entry]
    found = metadata["configuration"].items()
    return {key: value for key, value in found if not key.startswith("delta.inCommitTimestampE")}


def sizes(lake, **options):
    return {row.thing_id: row["size"] for row in lake.read(THINGS, **options).collect()}


class Story:
    """One table through two upserts and a plain write."""

    def __init__(self, lake):
        self.lake = lake
        lake.upsert(THINGS, things(lake.spark, 1, 2), newer="true", state={"step": 1})
        self.first = lake.version(THINGS)
        lake.upsert(THINGS, things(lake.spark, 5, 1, 3), newer="new.size > old.size", state={"step": 2})
        self.second = lake.version(THINGS)
        with pytest.raises(Py4JJavaError, match="CHECK constraint"):
            lake.upsert(THINGS, things(lake.spark, -1), newer="true", state={"step": "refused"})
        self.after_refusal = lake.version(THINGS)
        things(lake.spark).write.format("delta").mode("append").save(lake.path(THINGS))
        self.plain = lake.version(THINGS)


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    return Story(Lake(spark, str(tmp_path_factory.mktemp("lake"))))


def test_an_upsert_inserts_new_keys_and_updates_where_its_condition_holds(story):
    assert sizes(story.lake) == {"t0": 5, "t1": 2, "t2": 3}


def test_a_table_is_read_as_it_was_at_a_version(story):
    assert sizes(story.lake, version=story.first) == {"t0": 1, "t1": 2}


def test_changes_of_a_version_are_those_it_made(story):
    rows = story.lake.changes(THINGS, start=story.second, end=story.second).collect()

    images = sorted((row.thing_id, row["size"], row._change_type, row._commit_version) for row in rows)
    assert images == [
        ("t0", 1, "update_preimage", story.second),
        ("t0", 5, "update_postimage", story.second),
        ("t2", 3, "insert", story.second),
    ]


def test_a_state_is_found_with_its_commit_and_what_that_did(story):
    state = story.lake.state(THINGS, version=story.second)

    assert (state.values, state.version, state.read_version) == ({"step": 2}, story.second, story.first)
    assert (state.inserted, state.updated, state.deleted, state.changed) == (1, 1, 0, 2)


def test_a_state_is_read_as_it_was_at_a_version(story):
    assert story.lake.state(THINGS, version=story.first).values == {"step": 1}
    assert story.lake.state(THINGS, version=0) is None


def test_a_state_stays_out_of_the_next_write(story):
    assert (story.after_refusal, story.plain) == (story.second, story.second + 1)
    assert "userMetadata" not in commit(story.lake, THINGS, story.plain)["commitInfo"]
    assert story.lake.state(THINGS).version == story.second


def test_a_created_table_has_what_its_contract_promises(story):
    expected = {"delta.enableDeletionVectors": "true", "delta.enableInCommitTimestamps": "true"}
    expected |= {"delta.enableChangeDataFeed": "true", "delta.dataSkippingNumIndexedCols": "0"}
    expected |= {"delta.dataSkippingStatsColumns": "at"}
    expected |= {"delta.deletedFileRetentionDuration": "interval 259200 seconds"}
    expected |= {"delta.logRetentionDuration": "interval 518400 seconds"}
    expected |= {f"delta.constraints.check_{number}": check for number, check in enumerate(THINGS.checks)}

    assert properties(story.lake, THINGS) == expected
    assert "inCommitTimestamp" in commit(story.lake, THINGS, story.first)["commitInfo"]
    assert [field.nullable for field in story.lake.read(THINGS).schema] == [False, True, False]


def test_a_file_tells_no_smallest_and_largest_id(story):
    statistics = json.loads(commit(story.lake, THINGS, story.first)["add"]["stats"])

    assert set(statistics["minValues"]) == set(statistics["maxValues"]) == {"at"}
    assert "t0" not in json.dumps(statistics)


@pytest.mark.parametrize("table", [feeds.BRONZE_EVENTS, bronze.FILES, feeds.INTERACTIONS], ids=lambda table: table.name)
def test_identifying_columns_of_shipped_tables_stay_out_of_statistics(table):
    assert set(table.statistics) <= {"batch", "occurred_at"}


@pytest.mark.parametrize(
    ("values", "problem"),
    [(("t1", -1, AT), "check_0"), (("t1", 1000, AT), "check_1"), ((None, 1, AT), "thing_id"), (("t1", 1, None), "at")],
)
def test_a_row_that_breaks_the_contract_is_refused(story, values, problem):
    rows = story.lake.spark.createDataFrame([values], "thing_id string, size bigint, at timestamp")

    with pytest.raises(Py4JJavaError, match=problem):
        story.lake.append_once(THINGS, rows, number=100)

    assert story.lake.version(THINGS) == story.plain


def test_a_table_that_is_not_there_is_named(lake):
    with pytest.raises(LakeError, match=r"silver\.things does not exist at .*/silver/things; run `tailrace refresh`"):
        lake.read(THINGS)

    assert (lake.exists(THINGS), lake.state(THINGS), lake.last_appended(THINGS)) == (False, None, 0)


def test_creating_a_table_again_changes_nothing(story):
    before = story.lake.version(THINGS), story.lake.table_id(THINGS)

    story.lake.create(THINGS)

    assert (story.lake.version(THINGS), story.lake.table_id(THINGS)) == before


def test_a_creation_that_was_cut_off_is_completed_by_the_next(lake, monkeypatch):
    def cut_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lake.spark, "sql", cut_off)
        with suppress(KeyboardInterrupt):
            lake.create(THINGS)
    lake.create(THINGS)

    assert {"delta.constraints.check_0", "delta.constraints.check_1"} <= set(properties(lake, THINGS))


def test_a_table_that_several_create_at_once_is_created_once(lake):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda own: own.create(THINGS), [Lake(lake.spark, lake.root) for _ in range(4)]))

    assert properties(lake, THINGS)["delta.constraints.check_1"] == THINGS.checks[1]


def test_an_append_adds_the_columns_that_a_contract_gained(lake, spark):
    lake.append(THINGS, things(spark, 7))
    grown = replace(THINGS, fields=(*THINGS.fields, Column("colour", Type.STRING, "its colour")))
    grown_again = replace(grown, fields=(*grown.fields, Column("weight", Type.INT64, "its weight")))

    before = lake.read_as_promised(grown).collect()
    lake.append(grown, things(spark, 8).withColumn("colour", F.lit("red")))
    coloured = things(spark, 9).withColumn("colour", F.lit("blue"))
    lake.append_once(grown_again, coloured.withColumn("weight", F.lit(5).cast("bigint")), number=1)

    assert [(row.size, row.colour) for row in before] == [(7, None)]
    rows = {(row.size, row.colour, row.weight) for row in lake.read(grown_again).collect()}
    assert rows == {(7, None, None), (8, "red", None), (9, "blue", 5)}


@pytest.mark.parametrize("condition", tables.BEING_CREATED)
def test_a_table_that_another_one_is_about_to_create_is_waited_for(lake, monkeypatch, condition):
    refusals = [AnalysisException("another one has begun its log", errorClass=condition)]
    execute = DeltaTableBuilder.execute

    def refused_once(builder):
        if refusals:
            raise refusals.pop()
        return execute(builder)

    monkeypatch.setattr(DeltaTableBuilder, "execute", refused_once)
    monkeypatch.setattr(tables, "CREATION_WAIT_SECONDS", 0)

    lake.create(THINGS)

    assert (refusals, lake.exists(THINGS)) == ([], True)
