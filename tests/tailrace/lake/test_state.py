import json
from pathlib import Path

import pytest

from tailrace.lake.delta_log import parse_metadata, state_of_commit, to_metadata
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tests.tailrace.lake.copies import copied

NEWEST = 3


def quarantined(spark, number):
    row = ("events", f"file {number}", 1, "broken", "raw", number, None)
    return spark.createDataFrame([row], bronze.QUARANTINE.ddl.replace(" NOT NULL", "")).fillna(0).selectExpr(
        *(f"coalesce(ingested_at, timestamp'2026-03-02') as {name}" if name == "ingested_at" else name for name in bronze.QUARANTINE.columns)
    )  # fmt: skip


def append(lake, number):
    lake.append_once(bronze.QUARANTINE, quarantined(lake.spark, number), number=number)


def numbers(lake):
    return sorted(row.batch for row in lake.read(bronze.QUARANTINE).select("batch").collect())


@pytest.fixture(scope="module")
def original(spark, tmp_path_factory):
    lake = Lake(spark, str(tmp_path_factory.mktemp("original")))
    append(lake, 1)
    append(lake, NEWEST)
    return lake


@pytest.fixture
def appended(original, lake):
    return copied(original, lake)


def test_an_append_under_a_number_already_reached_does_nothing(appended):
    version = appended.version(bronze.QUARANTINE)

    append(appended, NEWEST)
    append(appended, 2)

    assert appended.version(bronze.QUARANTINE) == version
    assert numbers(appended) == [1, NEWEST]
    assert appended.last_appended(bronze.QUARANTINE) == NEWEST


def test_a_state_is_found_below_maintenance(appended):
    path = appended.path(bronze.QUARANTINE)
    before = appended.version(bronze.QUARANTINE)

    appended.spark.sql(f"OPTIMIZE delta.`{path}`")

    assert appended.version(bronze.QUARANTINE) == before + 1
    assert appended.last_appended(bronze.QUARANTINE) == NEWEST


def test_the_number_reached_outlives_the_log_entry_it_was_written_in(appended):
    """Delta removes log entries behind a checkpoint after 30 days, and a feed may be silent for longer."""
    path, number = appended.path(bronze.QUARANTINE), appended.version(bronze.QUARANTINE)
    appended.spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.checkpointInterval' = '1')")
    appended.spark.sql(f"OPTIMIZE delta.`{path}`")
    log = Path(path, "_delta_log")
    assert list(log.glob("*.checkpoint*.parquet"))
    for entry in log.glob("*.json"):
        if int(entry.stem) <= number:
            entry.unlink()

    assert Lake(appended.spark, appended.root).last_appended(bronze.QUARANTINE) == NEWEST


def test_a_restored_table_does_not_have_the_state_of_what_was_undone(appended):
    version = appended.version(bronze.QUARANTINE)
    appended.spark.sql(f"RESTORE delta.`{appended.path(bronze.QUARANTINE)}` TO VERSION AS OF {version - 1}")

    state = appended.state(bronze.QUARANTINE)

    assert state is None or state.values == {"number": 1}


def test_a_foreign_table_has_no_state(lake):
    rows = quarantined(lake.spark, 1)
    for metadata in ("by hand", '{"tailrace": "text"}', "[1]", '{"other": {"number": 9}}'):
        writer = rows.write.format("delta").mode("append").option("userMetadata", metadata)
        writer.save(lake.path(bronze.QUARANTINE))

    assert lake.state(bronze.QUARANTINE) is None
    assert lake.last_appended(bronze.QUARANTINE) == 0


def test_values_come_back_as_they_were_put():
    values = {"as_of": "2026-03-02T10:15:00Z", "inputs": {"silver.interactions": 7}, "odd": 'é "\n'}

    assert parse_metadata(to_metadata(values)) == values


@pytest.mark.parametrize("text", [None, "", "by hand", "{", "[1]", "7", "null", '{"tailrace": []}', '{"other": {}}'])
def test_metadata_of_others_is_no_state(text):
    assert parse_metadata(text) is None


def test_a_log_entry_without_a_commit_is_no_state():
    assert state_of_commit(json.dumps({"add": {"path": "x"}}), 4) is None


def test_the_first_commit_of_a_table_has_read_no_version():
    commit = {"operation": "WRITE", "operationMetrics": {"numOutputRows": "5"}, "userMetadata": to_metadata({"rows_before": 2})}  # fmt: skip

    state = state_of_commit(json.dumps({"commitInfo": commit}), 0)

    assert state is not None
    assert (state.read_version, state.inserted, state.rows, state.changed) == (None, 5, 7, 5)
