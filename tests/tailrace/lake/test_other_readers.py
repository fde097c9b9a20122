"""Programs without Spark open the tables that are only appended to."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import deltalake
import duckdb
import pytest
from pyspark.sql import functions as F

from jobs import maintenance
from sinks.history import Pushed, Run, append_runs
from tailrace.definitions import Definitions
from tailrace.lake import maintenance as tables
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze, view_tables
from tailrace.store.address import Address
from tests import feeds
from tests.sinks.publisher import VISITS

HISTORY = view_tables.history_table("visits")
APPENDED_TO = (*bronze.TABLES, HISTORY, view_tables.SCHEMAS, view_tables.RUNS)
UNREACHABLE = Address(
    url="http://127.0.0.1:9", region="us-east-1", table="t", in_flight=1, writes="updates", lease_seconds=1
)
SEQUENCES = "SELECT list(sequence ORDER BY sequence) FROM rows"
VIEWS = Definitions(views={"visits": VISITS}, on_demand={}, services={})


def opened(lake, table):
    """A table as delta-rs reads it, which knows no deletion vectors."""
    return deltalake.DeltaTable(lake.path(table)).to_pyarrow_table()


def queried(rows, sql):
    """What DuckDB finds in rows of Arrow; nothing is downloaded for it."""
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        return connection.register("rows", rows).execute(sql).fetchall()


def values(lake, table, *sequences):
    rows = [(number, f"document|2:d{number}", b"TR", None, None) for number in sequences]
    frame = small_frame(
        lake.spark, rows, "sequence bigint, item_key string, value binary, as_of timestamp, push string"
    )
    frame = frame.withColumns({"as_of": F.current_timestamp(), "recorded_at": F.current_timestamp()})
    others = {
        field.name: F.lit(None).cast(str(field.type)) for field in table.fields if field.name not in frame.columns
    }
    return frame.withColumns(others)


def jobs(lake):
    return lake.spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs()


@pytest.mark.slow
def test_delta_rs_and_duckdb_open_every_table_of_bronze_history_and_ledger(lake):
    for table in APPENDED_TO:
        lake.create(table)
    append_runs(lake, Run(), {"visits": Pushed(how="nothing new", as_of=7, confirmed_at=9), "other": OSError("no")})
    lake.append(HISTORY, values(lake, HISTORY, 1, 2))

    for table in APPENDED_TO:
        assert set(opened(lake, table).schema.names) == set(table.columns)
    runs = queried(opened(lake, view_tables.RUNS), "SELECT view, epoch_us(confirmed_at) FROM rows ORDER BY view")
    assert runs == [("other", None), ("visits", 9)]
    assert queried(opened(lake, HISTORY), "SELECT sum(sequence) FROM rows WHERE value IS NOT NULL") == [(3,)]
    before = jobs(lake)
    assert (maintenance.run_due(lake, VIEWS, UNREACHABLE, since={}), jobs(lake)) == ({}, before)  # a look costs nothing


def test_only_tables_whose_rows_change_have_deletion_vectors():
    changing = (
        *feeds.DEFINITIONS.silver_tables.values(),
        VISITS.table,
        view_tables.gold_table("x", keys=(), features=(), state=(), expectations=()),
    )

    assert all(table.rows_change for table in changing)
    assert not any(table.rows_change for table in APPENDED_TO)


@pytest.fixture
def old(lake):
    """A history as it was made with deletion vectors, and with rows that somebody has deleted."""
    before = replace(HISTORY, rows_change=True)
    lake.append(before, values(lake, HISTORY, 1, 2))
    lake.append(before, values(lake, HISTORY, 3))
    lake.spark.sql(f"DELETE FROM delta.`{lake.path(HISTORY)}` WHERE sequence = 2")
    return lake


def converted(lake):
    """What maintenance says of the history."""
    done = maintenance.maintain(
        lake, VIEWS, UNREACHABLE, [HISTORY], wants_vacuum=lambda _: False, to_open=maintenance.OPENED_AT_ONCE
    )
    return done[HISTORY.full_name]


WAITS = 5000  # of a twentieth of a second


def in_no_hurry(begun, may_end):
    """Rows that are there only when a file is; each time that they are asked for is noted in another."""

    def wait(batches):
        with begun.open("a") as file:
            file.write("x")
        for _ in range(WAITS):
            if may_end.exists():
                break
            time.sleep(0.05)
        yield from batches

    return wait


def appears(file):
    for _ in range(WAITS):
        if file.exists():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_maintenance_opens_a_table_of_before_while_others_append_and_every_version_stays_readable(old, tmp_path):
    with pytest.raises(deltalake.exceptions.DeltaProtocolError, match="deletionVectors"):
        opened(old, HISTORY)
    newest = old.version(HISTORY)
    counts = {version: old.read(HISTORY, version=version).count() for version in range(newest + 1)}
    begun, may_end = tmp_path / "begun", tmp_path / "may end"
    rows = values(old, HISTORY, 4)
    slow = rows.mapInArrow(in_no_hurry(begun, may_end), rows.schema)

    with ThreadPoolExecutor(2) as pool:
        append = pool.submit(lambda: old.in_own_session().append(HISTORY, slow))
        assert appears(begun)
        try:
            conversion = pool.submit(lambda: converted(old.in_own_session()))
            for number in (5, 6, 7):
                old.append(HISTORY, values(old, HISTORY, number))
            while not (done := conversion.result()).opened:
                assert done.failure is not None  # an append was faster: nothing is changed, and the next one does it
                conversion = pool.submit(lambda: converted(old.in_own_session()))
        finally:
            may_end.touch()
        append.result()

    assert done.failure is None
    assert begun.read_text() == "xx"  # Delta refused the first, which knew the table as it was
    assert queried(opened(old, HISTORY), SEQUENCES) == [([1, 3, 4, 5, 6, 7],)]
    fresh = Lake(old.spark, old.root)
    assert {version: fresh.read(HISTORY, version=version).count() for version in counts} == counts
    assert not tables.has_needless_deletion_vectors(old, HISTORY)
    assert not converted(old).opened
