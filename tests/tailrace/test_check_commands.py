"""The commands that look back, on a small home with real Spark and a real store."""

import json

import pytest
from typer.testing import CliRunner

from tailrace.cli import app as cli
from tailrace.settings import read_settings
from tailrace.store import embedded
from tailrace.store.dynamodb.calls import KEY
from tailrace.workspace.workspace import Workspace
from tests.conftest import SPARK
from tests.store_client import with_client
from tests.tailrace.lake.copies import home_with

VIEW = """
from datetime import timedelta

from tailrace.shipped.entities import DOCUMENT
from tailrace.definitions import Count, FeatureView

visits = FeatureView(
    name="visits",
    entities=(DOCUMENT,),
    owner="tests",
    description="Counts.",
    freshness=timedelta(hours=1),
    aggregations=(Count(name="events", over=("total",)),),
)
"""


@pytest.fixture
def home(monkeypatch, tmp_path, empty_tables):
    """A home with one view, refreshed once with three documents."""
    for name, value in (SPARK | {"TAILRACE_HOME": str(tmp_path), "TAILRACE_FEATURES": str(tmp_path / "views")}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "visits.py").write_text(VIEW)
    (tmp_path / "landing" / "events").mkdir(parents=True)
    event = {"event_type": "view", "actor_id": "u1", "occurred_at": "2026-03-10T11:50:00Z", "source": "drive"}
    lines = [json.dumps(event | {"event_id": f"e{i}", "document_id": f"d{i}"}) for i in range(3)]
    (tmp_path / "landing" / "events" / "a.jsonl").write_text("\n".join(lines) + "\n")
    home_with(empty_tables, read_settings())
    run("refresh", "--as-of", "2026-03-10T12:00:00Z")
    yield Workspace(settings=read_settings())
    embedded.stop(read_settings())


def run(*arguments, status=0):
    result = CliRunner().invoke(cli.app, [*arguments, "--json"])
    assert result.exit_code == status, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
def test_what_was_lost_is_found_and_mended_and_the_runs_are_listed(home):
    key = {KEY: {"S": "document|2:d1"}}
    with_client(home.store, lambda client: client.call("DeleteItem", {"TableName": client.table, "Key": key}))

    assert run("reconcile", status=1)["missing"] == 1
    mended = run("reconcile", "--repair")
    assert (mended["missing"], mended["repaired"]) == (1, 1)
    assert home.get("visits", "d1") == {"events_total": 1}

    run("run", "publish", "--allow-large-change", "a drill")
    listed = run("runs")["runs"]
    assert [(one["allowed"], one["views"]["visits"]["how"], one["views"]["visits"]["pushed"]) for one in listed] == [
        ("a drill", "nothing new", 0),
        (None, "repair", 1),
        (None, "nothing new", 0),
        (None, "first load", 3),
    ]
    assert len(run("runs", "--last", "1")["runs"]) == 1


def test_a_large_change_is_let_through_where_something_is_pushed():
    result = CliRunner().invoke(cli.app, ["run", "gold", "--allow-large-change", "why"])

    assert "--allow-large-change goes with publish" in str(result.exception)
