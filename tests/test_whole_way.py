"""The whole way over real parts: landing files, Spark, Delta, the embedded store, the reader over HTTP."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.blocked import SourcesBlocked
from jobs.bronze.set_aside import FilesToExclude
from tailrace.demo.ranking import ask, reader
from tailrace.events.oddities import land_oddities
from tailrace.lake.task_progress import say_nothing
from tailrace.schemas import bronze
from tailrace.schemas.slots import GRID
from tailrace.settings import Settings
from tailrace.store.control import Control
from tailrace.store.dynamodb.calls import StoreClient
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.workspace.reconciliation import reconcile_all
from tailrace.workspace.refresh import Report, refresh
from tailrace.workspace.workspace import Workspace
from tests import feeds
from tests.conftest import SPARK
from tests.dags.landed import TWO_VIEWS
from tests.files_entered import files_entered
from tests.store_client import with_client

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)
AGREED = {"missing": 0, "ghost": 0, "different": 0}
KILLS = int(os.environ.get("REFRESH_KILLS", "20"))
FILES_OF_A_REFRESH = 64  # of the product, that a maintainer has to open to follow it; to grow only with a decision


def event(number: int, **changed: Any) -> dict[str, Any]:
    base = {"event_id": f"e{number}", "event_type": "view", "actor_id": "u1", "document_id": "d1"}
    return base | {"occurred_at": "2026-03-10T11:50:00Z", "source": "drive"} | changed


def land(settings: Settings, name: str, *rows: dict[str, Any] | str, feed: str = "events") -> None:
    folder = Path(settings.landing) / feed
    folder.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def figures(report: Report, view: str) -> tuple[int, int, int, int]:
    refreshed, pushed = report.refreshed[view], report.pushed[view]
    return refreshed.gold_rows, refreshed.changed, pushed.pushed, pushed.removed


def agreement(home: Workspace) -> dict[str, int]:
    compared = reconcile_all(home, say_nothing)
    return {name: compared[name] for name in AGREED}


def control(home: Workspace, view: str) -> Control:
    async def read(client: StoreClient) -> Control:
        return (await DynamoStore(client).read_controls([view]))[view]

    return with_client(home.store, read)


def values(address: str, document: str, *features: str) -> dict[str, tuple[Any, str]]:
    query = {"features": list(features), "entities": {"document_id": [document], "actor_id": ["u1"]}}
    answer, _ = ask(address, query, times=1)
    names = answer["metadata"]["feature_names"]
    cells = [(result["values"][0], result["statuses"][0]) for result in answer["results"]]
    return dict(zip(names, cells, strict=True))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("patient_readers")
def test_what_lands_reaches_the_ranker_and_only_changes_are_pushed(
    spark: SparkSession, make_settings: Callable[..., Settings]
):
    home = Workspace(settings=make_settings())
    long_id = "ä" * 458 + "x"  # 917 bytes, the longest id seen in practice
    land(
        home.settings,
        "first",
        event(1),
        event(2, event_type="edit", occurred_at="2026-03-10T09:00:00Z"),
        event(3, document_id="d2", actor_id="u2", occurred_at="2026-03-10T08:00:00Z"),
        event(4, document_id=long_id, occurred_at="2026-03-01T08:00:00Z"),
        event(5, occurred_at="2026-03-10T12:00:00.000001Z"),
        event(6, event_type="Not A Type"),
        "half a li",
    )
    odd = {oddity.name for oddity in land_oddities(Path(home.settings.landing) / "events")}
    land(home.settings, "first", {"id": "d1", "title": "Plän", "folder": "/a/b", "size": 7}, feed="documents")

    first = refresh(home, as_of=T0)

    assert (*first.landed.rows.values(), first.landed.quarantined) == (5, 1, 0, 2 + len(odd))
    refused = home.lake.read(bronze.QUARANTINE).select("file", "line").collect()
    assert {row.file for row in refused if row.line is None} == odd
    assert [row.line for row in refused if row.file == "first.jsonl"] == [6, 7]
    assert figures(first, "document_activity") == (3, 3, 3, 0)
    assert figures(first, "actor_document_affinity") == (3, 3, 3, 0)
    assert agreement(home) == AGREED

    land(home.settings, "second", event(7, document_id="d2", event_type="delete", occurred_at="2026-03-10T12:10:00Z"))
    with files_entered("tailrace", "jobs", "sinks") as files:
        second = refresh(home, as_of=T0 + GRID)
    assert len(files) <= FILES_OF_A_REFRESH, "\n".join(sorted(files))

    # d1: e5 is now in the past and e1 left the 15 minutes; d2 is deleted, and its last event is newer.
    assert figures(second, "document_activity") == (3, 2, 1, 1)
    assert figures(second, "document_profile") == (1, 0, 0, 0)
    assert control(home, "document_profile").watermark == control(home, "document_activity").watermark
    assert agreement(home) == AGREED
    with reader(home.settings) as address:
        seen = values(
            address,
            "d1",
            "document_activity:events_15m",
            "document_activity:events_1h",
            "document_profile:folder_depth",
        )
        assert [seen[name] for name in ("events_15m", "events_1h", "folder_depth")] == [
            (1, "PRESENT"),
            (2, "PRESENT"),
            (2, "PRESENT"),
        ]
        assert values(address, "d2", "document_activity:events_1h")["events_1h"] == (None, "NOT_FOUND")
        assert values(address, long_id, "document_activity:events_30d")["events_30d"] == (1, "PRESENT")


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_bad_file_reaches_neither_gold_nor_the_store_and_the_rest_does_without_it(
    spark: SparkSession, make_settings: Callable[..., Settings]
):
    home = Workspace(settings=make_settings())
    land(home.settings, "good", event(1))
    first = refresh(home, as_of=T0)
    before = control(home, "document_activity")
    land(home.settings, "bad", *(event(n, document_id="d2", occurred_at="1970-01-01T00:00:00Z") for n in range(2, 202)))
    land(home.settings, "fine", event(300, document_id="d3"))

    with pytest.raises(SourcesBlocked, match=r"events/bad\.jsonl"):
        refresh(home, as_of=T0 + GRID)

    assert control(home, "document_activity") == before
    assert home.lake.read(home.definitions.batch_views["document_activity"].table).count() == 1

    second = refresh(home, as_of=T0 + GRID, aside=FilesToExclude(("events/bad.jsonl",), "its clock was lost"))

    assert [figures(done, "document_activity") for done in (first, second)] == [(1, 1, 1, 0), (2, 2, 2, 0)]
    assert set(first.gates) == {
        "bronze.events",
        "silver.interactions",
        "gold.actor_activity",
        "gold.actor_document_affinity",
        "gold.document_activity",
    }
    assert agreement(home) == AGREED


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_a_refresh_killed_at_any_moment_loses_and_repeats_nothing(
    spark: SparkSession, make_settings: Callable[..., Settings]
):
    variables = {"TAILRACE_LEASE_SECONDS": "3", "TAILRACE_FEATURES": str(TWO_VIEWS)}
    settings = make_settings(**variables)
    home = Workspace(settings=settings)
    seed = random.randrange(10**6)
    choose = random.Random(seed)
    environment = os.environ | SPARK | variables | {"TAILRACE_HOME": str(settings.home)}
    expected = 0
    for attempt in range(KILLS):
        as_of = T0 + attempt * GRID
        moment = (as_of - timedelta(minutes=5)).isoformat()
        batch = [event(100 * attempt + i, document_id=f"d{i}", occurred_at=moment) for i in range(50)]
        land(settings, f"batch-{attempt}", *batch, "not json")
        expected += len(batch)
        command = [sys.executable, "-m", "tailrace.cli.app", "refresh", "--as-of", as_of.isoformat()]
        log = settings.home / f"killed-{attempt}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
            wait_for_stage(process, log, choose.choice(["bronze", "silver", "gold", "publish"]))
            time.sleep(choose.uniform(0, 8))
            with suppress(ProcessLookupError):  # it may have come to its end
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    last = refresh(home, as_of=T0 + KILLS * GRID)

    assert home.lake.read(feeds.BRONZE_EVENTS).count() == expected, f"seed {seed}"
    assert home.lake.read(bronze.QUARANTINE).count() == KILLS, f"seed {seed}"
    gold = home.lake.read(home.definitions.batch_views["by_document"].table).collect()
    assert {row.document_id: row.events_total for row in gold} == {f"d{i}": KILLS for i in range(50)}, f"seed {seed}"
    assert last.refreshed["by_document"].gold_rows == 50
    assert agreement(home) == AGREED, f"seed {seed}"


def wait_for_stage(process: subprocess.Popen[bytes], log: Path, stage: str) -> None:
    """Wait until the refresh says that a stage begins, or has ended before it could be killed."""
    while process.poll() is None and f"refresh: {stage}" not in log.read_text():
        time.sleep(0.1)
