import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from delta.tables import DeltaTable

from tailrace.lake import maintenance
from tailrace.lake.delta_log import HistoryLost
from tailrace.lake.maintenance import SMALL_FILES, compact, health, live_files, measured, removes_needed, vacuum
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
DAY = timedelta(days=1)


@pytest.fixture
def lake(spark, tmp_path):
    return Lake(spark, str(tmp_path / "lake"), retention=DAY)


def things(spark, start, end, *, size=1):
    return spark.range(start, end).selectExpr("cast(id AS string) AS thing_id", f"cast({size} AS bigint) AS size")


def append(lake, start, end, *, files):
    lake.create(THINGS)
    rows = things(lake.spark, start, end).repartition(files)
    rows.write.format("delta").mode("append").save(lake.path(THINGS))


def update(lake, number, *, size):
    """Set the size of one thing, in a commit with state; returns the version."""
    lake.upsert(THINGS, things(lake.spark, number, number + 1, size=size), newer="true", state={"size": size})
    return lake.version(THINGS)


def rows(lake):
    return {(row.thing_id, row["size"]) for row in lake.read(THINGS).collect()}


def jobs(lake):
    return lake.spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs()


def tasks(lake):
    return lake.spark.sparkContext._jsc.sc().taskScheduler().newTaskId()


def log_of(lake, version):
    return Path(lake.path(THINGS), "_delta_log", f"{version:020}.json")


def actions(lake, version, kind):
    lines = map(json.loads, log_of(lake, version).read_text().splitlines())
    return [line[kind] for line in lines if kind in line]


def data_files(lake):
    root = Path(lake.path(THINGS))
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path) for path in paths if path.parts[0] != "_delta_log"}


def grow_old(lake, *, versions, by=2 * DAY):
    """Let what these commits wrote and removed be so long ago; what they removed is in the log, not in a file's time."""
    for version in versions:
        entry, then = log_of(lake, version), datetime.now(UTC) - by
        lines = list(map(json.loads, entry.read_text().splitlines()))
        for line in lines:
            for kind in ("add", "cdc", "remove"):
                if kind in line:
                    path = Path(lake.path(THINGS), line[kind]["path"])
                    os.utime(path, (then.timestamp(),) * 2)
            if "remove" in line:
                line["remove"]["deletionTimestamp"] = int(then.timestamp() * 1000)
        entry.write_text("\n".join(map(json.dumps, lines)))
        entry.with_name(f".{entry.name}.crc").unlink(missing_ok=True)
    lake.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()


@pytest.fixture(scope="module")
def in_many_files(spark, tmp_path_factory):
    """A hundred things in as many small files as make a compaction due, one of them changed."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("files")), retention=DAY)
    append(lake, 0, 50, files=SMALL_FILES // 2)
    append(lake, 50, 100, files=SMALL_FILES // 2)
    update(lake, 7, size=5)
    return lake


@pytest.fixture
def scattered(in_many_files, lake):
    return copied(in_many_files, lake)


def test_the_health_of_a_table_is_told_without_a_spark_job(scattered):
    before = jobs(scattered)
    told = health(scattered, THINGS)
    assert jobs(scattered) == before

    counted = measured(live_files(scattered, scattered.snapshot(THINGS)))
    assert counted == {name: getattr(told, name) for name in counted}
    assert (told.version, told.commits_since_checkpoint) == (3, 4)
    assert told.files == told.small_files > SMALL_FILES
    assert (told.rows, told.deleted_rows) == (101, 1)


def test_the_health_of_a_table_whose_summary_is_lost_is_counted(scattered):
    told = health(scattered, THINGS)
    log_of(scattered, told.version).with_suffix(".crc").unlink()

    assert health(scattered, THINGS) == told


def test_a_compaction_leaves_few_files_the_same_rows_and_an_empty_change_feed(scattered):
    held, state, last = rows(scattered), scattered.state(THINGS), scattered.version(THINGS)

    compacted = compact(scattered, THINGS)

    assert compacted.before.files > SMALL_FILES
    assert (compacted.after.files, compacted.after.deleted_rows) == (1, 0)
    assert rows(scattered) == held
    [version] = range(last + 1, scattered.version(THINGS) + 1)
    assert scattered.changes(THINGS, start=version, end=version).count() == 0
    assert scattered.state(THINGS) == state
    [commit] = actions(scattered, version, "commitInfo")
    assert "userMetadata" not in commit
    assert actions(scattered, version, "txn") == []
    assert [scattered.spark.conf.get(key) for key in maintenance.OPTIMIZE] != list(maintenance.OPTIMIZE.values())


@pytest.mark.slow
def test_a_compaction_leaves_large_files_alone(lake, monkeypatch):
    boundary = 8192  # the lowest of Delta's histogram
    monkeypatch.setattr(maintenance, "SMALL", boundary)
    monkeypatch.setitem(maintenance.OPTIMIZE, "spark.databricks.delta.optimize.minFileSize", str(boundary))
    append(lake, 0, 20_000, files=1)
    [large] = data_files(lake)
    append(lake, 20_000, 20_100, files=SMALL_FILES)

    compacted = compact(lake, THINGS)

    assert (compacted.after.files, compacted.after.small_files) == (2, 1)
    assert large not in {file["path"] for file in actions(lake, lake.version(THINGS), "remove")}


@pytest.mark.slow
def test_rows_marked_deleted_are_dropped_from_a_file_that_has_no_other_to_be_merged_with(lake, monkeypatch):
    monkeypatch.setattr(maintenance, "DELETED_ROWS", 29)
    append(lake, 0, 100, files=1)
    DeltaTable.forPath(lake.spark, lake.path(THINGS)).delete("cast(thing_id AS int) >= 70")
    held = rows(lake)
    assert health(lake, THINGS).deleted_rows == 30

    compacted = compact(lake, THINGS)

    assert (compacted.after.rows, compacted.after.deleted_rows) == (70, 0)
    assert rows(lake) == held
    assert lake.changes(THINGS, start=compacted.after.version, end=compacted.after.version).count() == 0


@pytest.fixture(scope="module")
def grown_old(spark, tmp_path_factory):
    """Things through four commits, all but the last of which were made before the retention began."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("old")), retention=DAY)
    append(lake, 0, 10, files=1)
    for size in (2, 3, 4):
        last = update(lake, 7, size=size)
    grow_old(lake, versions=range(1, last))
    return lake, last


@pytest.fixture
def aged(grown_old, lake):
    original, last = grown_old
    return copied(original, lake), last


def test_a_table_that_needs_no_compaction_gets_no_commit_and_no_job(aged):
    lake, _ = aged
    version, before = lake.version(THINGS), jobs(lake)

    compacted = compact(lake, THINGS)

    assert compacted.after == compacted.before
    assert (lake.version(THINGS), jobs(lake)) == (version, before)


def test_a_vacuum_keeps_what_the_oldest_needed_version_reads_and_the_changes_after_it(aged):
    lake, last = aged
    before = lake.read(THINGS, version=last - 1).collect()

    done = vacuum(lake, THINGS, oldest_needed=last - 1)

    assert (done.blocked, done.files > 0, done.bytes > 0) == (False, True, True)
    assert lake.read(THINGS, version=last - 1).collect() == before
    pins = [lake.pin(THINGS, version=version) for version in (last - 2, last - 1, last)]
    changes = lake.changes_since(THINGS, since=pins[1], until=pins[2]).collect()
    assert sorted((row["size"], row._change_type) for row in changes) == [
        (3, "update_preimage"),
        (4, "update_postimage"),
    ]
    with pytest.raises(HistoryLost, match="is gone"):
        lake.changes_since(THINGS, since=pins[0], until=pins[2])


@pytest.mark.slow
def test_a_version_from_before_the_retention_keeps_a_vacuum_from_all_files(aged):
    lake, last = aged
    files, version = data_files(lake), lake.version(THINGS)

    done = vacuum(lake, THINGS, oldest_needed=last - 2)

    assert (done.blocked, done.files) == (True, 0)
    assert (data_files(lake), lake.version(THINGS)) == (files, version)
    pins = [lake.pin(THINGS, version=version) for version in (last - 2, last)]
    assert lake.changes_since(THINGS, since=pins[0], until=pins[1]).count() == 4


@pytest.mark.slow
def test_what_a_long_transaction_wrote_before_the_retention_began_is_held(aged):
    """Commits are recent here, the change files of the last one are not."""
    lake, last = aged
    [changes] = {file["path"] for file in actions(lake, last, "cdc")}
    then = (datetime.now(UTC) - 2 * DAY).timestamp()
    assert not removes_needed(lake, THINGS, last - 1)

    os.utime(Path(lake.path(THINGS), changes), (then, then))

    assert removes_needed(lake, THINGS, last - 1)
    assert not removes_needed(lake, THINGS, last)


@pytest.mark.slow
def test_a_vacuum_writes_no_commit_and_gives_an_older_table_its_retention_once(scattered):
    version, before = scattered.version(THINGS), tasks(scattered)
    assert not vacuum(scattered, THINGS).files
    assert scattered.version(THINGS) == version
    assert tasks(scattered) - before < 300  # Delta would list the files in 10,000

    longer = Lake(scattered.spark, scattered.root, retention=2 * DAY)
    vacuum(longer, THINGS)
    vacuum(longer, THINGS)

    assert scattered.version(THINGS) == version + 1
    properties = scattered.snapshot(THINGS).metadata().configuration()
    assert properties.apply("delta.deletedFileRetentionDuration") == "interval 172800 seconds"
    assert properties.apply("delta.logRetentionDuration") == "interval 345600 seconds"


@pytest.mark.slow
def test_log_entries_go_behind_a_checkpoint_and_whoever_needs_them_is_told(lake):
    append(lake, 0, 10, files=1)
    lake.spark.sql(f"ALTER TABLE delta.`{lake.path(THINGS)}` SET TBLPROPERTIES ('delta.checkpointInterval' = '2')")
    since = lake.pin(THINGS)
    for number in range(10, 14):
        append(lake, number, number + 1, files=1)
    kept = lake.version(THINGS)
    long_ago = (datetime.now(UTC) - 5 * DAY).timestamp()
    for entry in log_of(lake, 0).parent.iterdir():
        number = entry.name.removeprefix(".")[:20]
        if number.isdigit() and int(number) <= kept:
            os.utime(entry, (long_ago + int(number),) * 2)  # Delta wants times that rise with the versions

    for number in range(14, 16):
        append(lake, number, number + 1, files=1)

    last = lake.version(THINGS)
    assert sorted(int(entry.stem) for entry in log_of(lake, 0).parent.glob("0*.json")) == list(range(kept, last + 1))
    assert not maintenance.can_go_on_from(lake, THINGS, since.version)
    assert maintenance.can_go_on_from(lake, THINGS, kept)
    with pytest.raises(HistoryLost, match="is gone"):
        lake.changes_since(THINGS, since=since, until=lake.pin(THINGS))
