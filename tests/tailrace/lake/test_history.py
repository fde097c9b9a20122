import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from delta.tables import DeltaTable

from tailrace.lake.delta_log import HistoryLost
from tailrace.lake.session import java_class, small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Column, Table, Type
from tests.tailrace.lake.copies import copied

THINGS = Table(
    layer="gold",
    name="things",
    fields=(Column("thing_id", Type.STRING, "the thing", nullable=False), Column("size", Type.INT64, "its size")),
    key=("thing_id",),
    change_feed=True,
    rows_change=True,
)


def things(spark, **sizes):
    return small_frame(spark, list(sizes.items()), THINGS.ddl)


def append(lake, **sizes):
    """Rows beside those that are there: of what makes a commit, the quickest."""
    lake.create(THINGS)
    things(lake.spark, **sizes).write.format("delta").mode("append").save(lake.path(THINGS))


@pytest.fixture(scope="module")
def written(spark, tmp_path_factory):
    """A lake and a pin of its table, before three more commits: an update, an optimisation and an insert."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("written")))
    append(lake, t0=1, t1=2)
    since = lake.pin(THINGS)
    lake.upsert(THINGS, things(lake.spark, t0=5), newer="true", state={})
    lake.spark.sql(f"OPTIMIZE delta.`{lake.path(THINGS)}`")
    append(lake, t2=3)
    return lake, since


@pytest.fixture
def told(written, lake):
    original, since = written
    return copied(original, lake), since


def log_of(lake, version):
    return Path(lake.path(THINGS), "_delta_log", f"{version:020}.json")


def actions(lake, version, kind):
    lines = map(json.loads, log_of(lake, version).read_text().splitlines())
    return [line[kind] for line in lines if kind in line]


def changes(lake, since):
    return lake.changes_since(THINGS, since=since, until=lake.pin(THINGS))


def test_the_feed_between_two_pins_holds_what_changed(told):
    lake, since = told

    rows = sorted((row.thing_id, row["size"], row._change_type) for row in changes(lake, since).collect())

    assert rows == [("t0", 1, "update_preimage"), ("t0", 5, "update_postimage"), ("t2", 3, "insert")]
    assert changes(lake, lake.pin(THINGS)) is None


def test_a_missing_log_file_is_named(told):
    lake, since = told
    until = lake.pin(THINGS)
    log_of(lake, since.version + 1).unlink()

    with pytest.raises(HistoryLost, match=rf"{since.version + 1:020}.json is gone"):
        lake.changes_since(THINGS, since=since, until=until)


@pytest.mark.slow
@pytest.mark.parametrize(("commit", "kind"), [(1, "cdc"), (-1, "add")])
def test_a_missing_file_of_changes_or_of_rows_is_named(told, commit, kind):
    lake, since = told
    version = since.version + commit if commit > 0 else lake.version(THINGS)
    file = actions(lake, version, kind)[0]["path"]
    Path(lake.path(THINGS), file).unlink()

    with pytest.raises(HistoryLost, match=rf"{file} of version {version}"):
        changes(lake, since)


@pytest.mark.slow
def test_files_that_only_moved_rows_are_not_needed(told):
    lake, since = told
    optimized = since.version + 2
    assert [add["dataChange"] for add in actions(lake, optimized, "add")] == [False]

    assert changes(lake, since).count() == 3


@pytest.mark.slow
def test_a_table_created_anew_tells_nothing_of_the_old_one(told):
    lake, since = told

    with pytest.raises(HistoryLost, match="created anew"):
        changes(lake, replace(since, table_id="another"))


def test_a_table_put_back_from_a_copy_is_noticed_where_it_comes_to_the_same_version(told, tmp_path):
    lake, _ = told
    path, copy = Path(lake.path(THINGS)), tmp_path / "copy"
    shutil.copytree(path, copy)
    append(lake, t7=7)
    since = lake.pin(THINGS)
    shutil.rmtree(path)
    shutil.copytree(copy, path)
    java_class(lake.spark, "org.apache.spark.sql.delta.DeltaLog").clearCache()
    append(lake, t8=8)
    until = lake.pin(THINGS)
    append(lake, t9=9)

    assert (until.table_id, until.version) == (since.table_id, since.version)
    for later in (until, lake.pin(THINGS)):
        with pytest.raises(HistoryLost, match=f"version {since.version} of .* is not the commit that it was"):
            lake.changes_since(THINGS, since=since, until=later)


@pytest.mark.slow
def test_a_version_that_is_not_reached_is_refused(told):
    lake, since = told

    with pytest.raises(HistoryLost, match=f"is at version {lake.version(THINGS)}, before version 99"):
        changes(lake, replace(since, version=99))


@pytest.mark.slow
def test_a_feed_that_was_off_for_a_while_is_refused(told):
    lake, since = told
    for value in ("false", "true"):
        properties = f"(delta.enableChangeDataFeed = {value})"
        lake.spark.sql(f"ALTER TABLE delta.`{lake.path(THINGS)}` SET TBLPROPERTIES {properties}")

    with pytest.raises(HistoryLost, match="turned the change feed off"):
        changes(lake, since)


@pytest.mark.slow
def test_a_feed_from_before_the_retention_is_read_while_its_files_are_there(told):
    lake, since = told
    properties = "(delta.deletedFileRetentionDuration = 'interval 0 seconds')"
    lake.spark.sql(f"ALTER TABLE delta.`{lake.path(THINGS)}` SET TBLPROPERTIES {properties}")

    assert changes(lake, since).count() == 3


@pytest.mark.slow
def test_a_change_of_properties_alone_loses_nothing(told):
    lake, since = told
    lake.spark.sql(f"ALTER TABLE delta.`{lake.path(THINGS)}` SET TBLPROPERTIES (delta.checkpointInterval = 20)")

    assert changes(lake, since).count() == 3


@pytest.mark.slow
def test_columns_that_changed_and_changed_back_are_noticed(told):
    lake, since = told
    for table in (replace(THINGS, fields=(*THINGS.fields, Column("colour", Type.STRING, "its colour"))), THINGS):
        rows = lake.spark.createDataFrame([], table.ddl)
        rows.write.format("delta").mode("overwrite").option("overwriteSchema", True).save(lake.path(THINGS))

    with pytest.raises(HistoryLost, match=f"the columns of the table at .* changed since version {since.version}"):
        changes(lake, since)


def test_a_missing_deletion_vector_is_named(lake):
    append(lake, t1=1, t2=2, t3=3)
    since = lake.pin(THINGS)
    DeltaTable.forPath(lake.spark, lake.path(THINGS)).delete("size = 2")
    assert changes(lake, since).count() == 1
    [vector] = Path(lake.path(THINGS)).glob("deletion_vector_*.bin")
    vector.unlink()

    with pytest.raises(HistoryLost, match=rf"{vector.name} of version {since.version + 1}"):
        changes(lake, since)
