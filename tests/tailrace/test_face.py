"""The public names: what they load, and what a user does with them, from a folder outside this repository."""

import ast
import doctest
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tailrace
from tailrace import FeatureView, TailraceError, Workspace
from tailrace.store import embedded
from tests.conftest import SPARK

HEAVY = ("airflow", "aiohttp", "delta", "great_expectations", "numpy", "pandas", "pyspark")
DOCUMENTED = Path(__file__).parents[2] / "docs" / "python.md"

VIEW = """
from datetime import timedelta

from tailrace import Count, Entity, FeatureView

DOCUMENT = Entity(name="document", key="document_id", description="A document.")

visits = FeatureView(
    name="visits",
    entities=(DOCUMENT,),
    owner="search",
    description="How often a document was seen.",
    freshness=timedelta(hours=1),
    aggregations=(Count(name="views", over=("24h", "total")),),
)
"""
AS_OF = "2026-03-10T12:00:00Z"


def heavy_after(code, **variables):
    """Each heavy package that a program has loaded, in a process of its own."""
    ending = f"import sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{ending}"],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()[-1].split()


def test_nothing_heavy_is_loaded_before_a_name_is_used():
    assert heavy_after("import tailrace; dir(tailrace); tailrace.__version__") == []


def test_definitions_errors_settings_and_a_workspace_load_nothing_heavy(tmp_path):
    (tmp_path / "visits.py").write_text(VIEW)
    light = [
        name for name in tailrace.__all__ if not tailrace._MODULE_OF.get(name, "").startswith(("serving", "sinks"))
    ]
    code = f"from tailrace import {', '.join(light)}; Workspace(features={str(tmp_path)!r}).definitions.view('visits')"

    assert heavy_after(code) == []


def test_a_client_loads_nothing_of_the_refresh():
    assert not {"airflow", "delta", "great_expectations", "pyspark"} & {*heavy_after("from tailrace import Client")}


def test_commands_that_need_no_spark_load_none(tmp_path):
    commands = [
        ("--help",),
        ("--version",),
        ("refresh", "--help"),
        ("features", "list"),
        ("features", "show", "document_activity"),
        ("features", "independent"),
        ("keys", "add", "ranker", "--scope", "read:*"),
        ("keys", "list"),
        ("status",),
        ("store", "status"),
        ("stream", "status"),
        ("events", "generate", "--documents", "3", "--days", "1", "--out", str(tmp_path / "landing")),
    ]
    code = f"""
import sys
from typer.testing import CliRunner
from tailrace.cli.app import app
from tailrace.errors import CommandError
for command in {commands}:
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0 or isinstance(done.exception, CommandError), (command, done.output, done.exception)
    assert not {{"delta", "pyspark"}} & {{*sys.modules}}, command
"""

    heavy_after(code, TAILRACE_HOME=str(tmp_path), TAILRACE_READER_KEYS=str(tmp_path / "keys.json"))


def test_every_public_name_is_there_typed_and_listed():
    (block,) = [node for node in ast.parse(inspect.getsource(tailrace)).body if isinstance(node, ast.If)]
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert typed == tailrace._MODULE_OF
    assert sorted([*typed, "__version__"]) == sorted(tailrace.__all__)
    assert {*tailrace.__all__} <= {*dir(tailrace)}
    assert all(getattr(tailrace, name) is not None for name in tailrace.__all__)
    assert issubclass(tailrace.DefinitionError, TailraceError)
    with pytest.raises(AttributeError, match="Wrokspace"):
        _ = tailrace.Wrokspace
    assert (Path(tailrace.__file__).parent / "py.typed").exists()


def test_every_public_name_is_documented_and_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = DOCUMENTED.read_text()

    assert [name for name in tailrace.__all__ if f"`{name}" not in text] == []
    methods = [name for name, _ in inspect.getmembers(Workspace, inspect.isfunction) if not name.startswith("_")]
    assert [name for name in methods if f"`{name}(" not in text] == []
    results = doctest.testfile(str(DOCUMENTED), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0
    assert results.attempted > 10


def test_a_workspace_says_what_goes_together_before_anything_starts(tmp_path):
    (tmp_path / "visits.py").write_text(VIEW)
    workspace = Workspace(home=tmp_path / "home", features=tmp_path, views=["visits"])

    assert workspace.settings.home == tmp_path / "home"
    assert isinstance(workspace.definitions.view("visits"), FeatureView)
    for wrong in (
        lambda: workspace.refresh(set_aside=["events/a.jsonl"]),
        lambda: workspace.refresh(as_of="yesterday"),
        lambda: workspace.run_layer("platinum"),
        lambda: workspace.run_layer("silver"),  # for all views, and one is chosen
        lambda: workspace.get("visitors", "d1"),
        lambda: workspace.get("visits", "d1", "d2"),
        lambda: workspace.get("visits", "d1", source="bronze"),
        lambda: workspace.backfill(AS_OF, "2026-03-10T11:00:00Z"),
    ):
        with pytest.raises(TailraceError):
            wrong()
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_a_user_refreshes_looks_up_verifies_and_reconciles(tmp_path, monkeypatch, spark):
    for name, value in SPARK.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "visits.py").write_text(VIEW)
    (tmp_path / "home" / "landing" / "events").mkdir(parents=True)
    event = {"event_type": "view", "actor_id": "u1", "occurred_at": "2026-03-10T11:50:00Z", "source": "drive"}
    lines = [json.dumps(event | {"event_id": f"e{i}", "document_id": f"d{i % 2}"}) for i in range(3)]
    (tmp_path / "home" / "landing" / "events" / "a.jsonl").write_text("\n".join(lines) + "\n")
    workspace = Workspace(home=tmp_path / "home", features=[tmp_path / "views"])
    steps: list[str] = []

    try:
        shown = workspace.refresh(as_of=AS_OF, progress=steps.append).json()
        assert (shown["as_of"], shown["views"]["visits"]["pushed"]) == (AS_OF, 2)
        assert "gold" in steps
        row = {"views_24h": 2, "views_total": 2}
        assert workspace.get("visits", "d0") == workspace.get("visits", "d0", source="gold") == row
        assert workspace.get("visits", "nobody") is None
        found = workspace.verify()
        assert (found["rows"], found["differing"]) == (2, 0)
        assert workspace.reconcile(repair=True)["compared"] == 2
        assert workspace.export("visits", tmp_path / "out")["rows"] == 2
        assert [run["views"]["visits"]["pushed"] for run in workspace.runs()] == [0, 2]
    finally:
        embedded.stop(workspace.settings)
