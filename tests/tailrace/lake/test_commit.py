from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tailrace.lake import commit
from tailrace.lake.commit import Change
from tailrace.lake.delta_log import TRANSACTION, USER_METADATA, Overtaken, to_metadata
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Column, Table, Type
from tests.tailrace.lake.copies import copied

AT = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)

THINGS = Table(
    layer="gold",
    name="things",
    fields=(
        Column("thing_id", Type.STRING, "the thing", nullable=False),
        Column("size", Type.INT64, "its size"),
        Column("at", Type.TIMESTAMP, "when"),
    ),
    key=("thing_id",),
    checks=("size is null or size < 1000",),
    change_feed=True,
    rows_change=True,
)
WITH_COLOUR = replace(THINGS, fields=(*THINGS.fields, Column("colour", Type.STRING, "its colour")))


@pytest.fixture(scope="module")
def original(spark, tmp_path_factory):
    """The table with t0: 4, t1: 10, t2: 20."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("original")))
    lake.create(THINGS)
    commit.become(
        lake, THINGS, rows_of(lake, t0=4, t1=10, t2=20), state={"started_from": lake.version(THINGS), "step": 1}
    )
    return lake


@pytest.fixture
def things(original, lake):
    return copied(original, lake)


def rows_of(lake, **sizes):
    return lake.spark.createDataFrame([(name, size, AT) for name, size in sizes.items()], THINGS.ddl)


def sizes(lake):
    return {row.thing_id: row["size"] for row in lake.read(THINGS).collect()}


def add(lake, *, started_from, step, **sizes):
    """Add to the sizes; a thing goes at 0, and a new one must be above 0."""
    change = Change(
        rows=rows_of(lake, **sizes),
        update={"size": "old.size + new.size"},
        insert={"thing_id": "new.thing_id", "size": "new.size", "at": "new.at"},
        differs="new.size <> 0",
        gone="old.size + new.size = 0",
        exists="new.size > 0",
    )
    commit.change(lake, THINGS, change, state={"started_from": started_from, "step": step})


def test_become_touches_only_rows_that_differ(things):
    commit.become(things, THINGS, rows_of(things, t0=4, t1=11, t2=None), state={"started_from": things.version(THINGS)})

    state = things.state(THINGS)
    assert sizes(things) == {"t0": 4, "t1": 11, "t2": None}
    assert (state.inserted, state.updated, state.deleted, state.rows, state.exclusive) == (0, 2, 0, 3, True)


@pytest.mark.slow
def test_a_table_whose_columns_are_not_the_declared_ones_is_replaced(things):
    rows = rows_of(things, t0=5).selectExpr("*", "'red' AS colour")

    commit.become(things, WITH_COLOUR, rows, state={"started_from": things.version(THINGS)})

    assert [tuple(row) for row in things.read(WITH_COLOUR).collect()] == [("t0", 5, AT.replace(tzinfo=None), "red")]
    assert things.state(WITH_COLOUR).rows == 1


def test_keeping_moves_the_state_and_no_row(things):
    before = things.version(THINGS)

    commit.keep(things, THINGS, state={"started_from": before, "step": 2})

    state = things.state(THINGS)
    assert (state.values["step"], state.version, state.rows, state.changed) == (2, before + 1, 3, 0)


def test_a_change_updates_removes_and_inserts_by_its_conditions(things):
    before = things.version(THINGS)

    add(things, started_from=before, step=2, t0=0, t1=5, t2=-20, t3=7, t4=0)

    state = things.state(THINGS)
    assert sizes(things) == {"t0": 4, "t1": 15, "t3": 7}
    assert (state.inserted, state.updated, state.deleted, state.rows) == (1, 1, 1, 3)
    changes = things.changes(THINGS, start=before + 1, end=before + 1).collect()
    assert sorted((row.thing_id, row._change_type) for row in changes) == [
        ("t1", "update_postimage"),
        ("t1", "update_preimage"),
        ("t2", "delete"),
        ("t3", "insert"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("late", ["change", "keep", "become"])
def test_what_was_computed_from_a_version_that_others_went_on_from_is_not_committed(things, late):
    start = things.version(THINGS)
    add(things, started_from=start, step="first", t1=5)

    state = {"started_from": start, "step": "late"}
    too_late = {
        "change": lambda: add(things, **state, t1=5),
        "keep": lambda: commit.keep(things, THINGS, state=state),
        "become": lambda: commit.become(things, THINGS, rows_of(things, t9=9), state=state),
    }
    with pytest.raises(Overtaken, match=r"gold\.things was changed by another writer"):
        too_late[late]()

    assert (sizes(things), things.state(THINGS).values["step"]) == ({"t0": 4, "t1": 15, "t2": 20}, "first")


@pytest.mark.slow
def test_a_later_write_of_the_session_is_neither_skipped_nor_marked(things):
    add(things, started_from=things.version(THINGS), step=2, t1=5)

    assert [things.spark.conf.get(key, None) for key in (USER_METADATA, *TRANSACTION)] == [None, None, None]


def test_rows_are_counted_where_the_last_commit_cannot_tell(things):
    late = to_metadata({"started_from": things.version(THINGS) - 1})
    rows_of(things, t7=7).write.format("delta").mode("append").option("userMetadata", late).save(things.path(THINGS))

    assert not things.state(THINGS).exclusive
    assert commit.rows_in(things, THINGS) == 4

    commit.keep(things, THINGS, state={"started_from": things.version(THINGS)})
    rows_of(things, t8=8).write.format("delta").mode("append").save(things.path(THINGS))

    assert things.state(THINGS).exclusive
    assert commit.rows_in(things, THINGS) == 5
