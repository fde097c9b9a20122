from datetime import UTC, datetime

import pytest
from pyspark.sql import functions as F

from tailrace.lake import commit
from tailrace.lake.commit import Change, Transaction
from tailrace.lake.delta_log import Overtaken
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Column, Table, Type
from tests.tailrace.lake.copies import copied

AT = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)

THINGS = Table(
    layer="gold",
    name="things",
    fields=(
        Column("owner", Type.STRING, "whose", nullable=False),
        Column("name", Type.STRING, "which", nullable=False),
        Column("size", Type.INT64, "its size"),
        Column("colour", Type.STRING, "its colour"),
        Column("at", Type.TIMESTAMP, "when"),
        Column("file_path", Type.STRING, "a name that Spark has for itself"),
    ),
    key=("owner", "name"),
    checks=("size is null or size < 1000",),
    change_feed=True,
    rows_change=True,
)
UNCHANGED = {"t1": 10, "t2": 20, "t3": 30}


@pytest.fixture(scope="module")
def original(spark, tmp_path_factory):
    return filled(Lake(spark, str(tmp_path_factory.mktemp("original"))))


@pytest.fixture
def things(original, lake):
    return copied(original, lake)


def filled(lake):
    """Three things of one owner in one file."""
    lake.create(THINGS)
    rows_of(lake, UNCHANGED).coalesce(1).write.format("delta").mode("append").save(lake.path(THINGS))
    return lake


def rows_of(lake, sizes, owner="u"):
    return lake.spark.createDataFrame([(owner, name, size, "red", AT, "p") for name, size in sizes.items()], THINGS.ddl)


def resize(lake, *, started_from=None, owner="u", **sizes):
    """Give things other sizes; one of size 0 goes, one that is not there is made unless its size is negative."""
    change = Change(
        rows=rows_of(lake, sizes, owner).drop("colour"),
        update={"size": "new.size"},
        insert={name: f"new.{name}" for name in ("owner", "name", "size", "at", "file_path")} | {"colour": "'blue'"},
        differs="NOT (old.size <=> new.size)",
        gone="new.size = 0",
        exists="new.size > 0",
    )
    state = {"started_from": lake.version(THINGS) if started_from is None else started_from}
    commit.rewrite(lake, THINGS, change, state=state)


def held(lake):
    return sorted((row.owner, row.name, row["size"], row.colour) for row in lake.read(THINGS).collect())


def last_changes(lake):
    version = lake.version(THINGS)
    rows = lake.changes(THINGS, start=version, end=version).collect()
    return sorted((row.name, row._change_type, row["size"], row.colour) for row in rows)


def data_files(lake):
    return lake.read(THINGS).select("_metadata.file_path").distinct().count()


def test_rows_change_go_and_come_and_the_feed_tells_just_that(things):
    resize(things, t1=11, t2=0, t3=30, t4=40, t5=-1)

    assert held(things) == [("u", "t1", 11, "red"), ("u", "t3", 30, "red"), ("u", "t4", 40, "blue")]
    assert data_files(things) == 2  # a change adds one, and leaves the others where they are
    assert last_changes(things) == [
        ("t1", "update_postimage", 11, "red"),
        ("t1", "update_preimage", 10, "red"),
        ("t2", "delete", 20, "red"),
        ("t4", "insert", 40, "blue"),
    ]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"t4": 40}, [("t4", "insert", 40, "blue")]),
        ({"t2": 0}, [("t2", "delete", 20, "red")]),
        ({"t2": 20}, []),
        ({"t9": -1}, []),
    ],
)
def test_a_change_of_one_sort_alone_and_one_that_changes_nothing_are_commits_too(things, sizes, expected):
    before = things.version(THINGS)

    resize(things, **sizes)

    assert things.version(THINGS) == before + 1
    assert last_changes(things) == expected


@pytest.mark.slow
def test_a_row_that_changed_before_is_found_where_it_is_now(things):
    for size in (11, 13):
        resize(things, t1=size)
    resize(things, t2=0)
    resize(things, t2=22)

    assert held(things) == [("u", "t1", 13, "red"), ("u", "t2", 22, "blue"), ("u", "t3", 30, "red")]
    assert last_changes(things) == [("t2", "insert", 22, "blue")]


@pytest.mark.slow
def test_a_key_is_all_of_its_columns(things):
    resize(things, owner="v", t1=11, t2=21)

    assert held(things)[0] == ("u", "t1", 10, "red")
    assert held(things)[-1] == ("v", "t2", 21, "blue")


@pytest.mark.slow
def test_many_changed_rows_are_written_by_several_tasks(things, monkeypatch):
    monkeypatch.setattr(commit, "ROWS_PER_TASK", 50)
    monkeypatch.setattr("tailrace.lake.session.FEW", 50)
    many = {f"n{number}": number + 1 for number in range(200)}

    resize(things, **many)

    assert data_files(things) > 2
    assert things.read(THINGS).where("name LIKE 'n%'").agg(F.sum("size")).first()[0] == sum(many.values())


@pytest.mark.slow
def test_a_table_may_lie_below_any_folder(spark, tmp_path):
    lake = filled(Lake(spark, str(tmp_path / "a folder, 100%20 große")))

    resize(lake, t1=11, t2=0)
    resize(lake, t1=12)

    assert held(lake) == [("u", "t1", 12, "red"), ("u", "t3", 30, "red")]


def test_a_row_that_breaks_a_check_is_refused_and_nothing_is_committed(things):
    before = things.version(THINGS)

    with pytest.raises(Exception, match="CHECK constraint"):
        resize(things, t1=1000, t2=0)

    assert (things.version(THINGS), len(held(things))) == (before, 3)


def test_another_writer_between_the_look_and_the_commit_wins(things):
    before = things.version(THINGS)
    slow = Transaction(things, THINGS, state={"started_from": before, "of": "slow"})
    slow.write(rows_of(things, {"t8": 8}).withColumn("_change_type", F.lit(None).cast("string")))
    resize(things, t1=11)

    with pytest.raises(Overtaken, match=r"gold\.things was changed by another writer"):
        slow.commit({})

    assert ("u", "t8", 8, "red") not in held(things)


def test_a_commit_without_rows_between_the_look_and_the_commit_wins_too(things):
    before = things.version(THINGS)
    slow = Transaction(things, THINGS, state={"started_from": before, "of": "slow"})
    Transaction(things, THINGS, state={"started_from": before, "of": "fast"}).commit({})

    with pytest.raises(Overtaken):
        slow.commit({})

    assert things.state(THINGS).values["of"] == "fast"


def test_what_was_computed_from_an_older_version_is_refused_before_anything_is_read(things):
    before = things.version(THINGS)
    resize(things, t1=11)

    with pytest.raises(Overtaken):
        resize(things, started_from=before, t1=12)

    assert held(things)[0] == ("u", "t1", 11, "red")


def test_the_state_tells_what_a_commit_did(things):
    state = {"started_from": things.version(THINGS), "rows_before": 3}
    numbers = {"numTargetRowsInserted": 2, "numTargetRowsUpdated": 4, "numTargetRowsDeleted": 1}

    Transaction(things, THINGS, state=state).commit(numbers)

    told = things.state(THINGS)
    assert (told.inserted, told.updated, told.deleted, told.rows, told.exclusive) == (2, 4, 1, 4, True)
