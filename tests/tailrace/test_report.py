import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.errors import AnalysisException
from rich.console import Console
from typer.testing import CliRunner

from jobs.blocked import SourcesBlocked, blocked_in, blocked_json
from jobs.bronze.set_aside import FilesToExclude
from jobs.bronze.topic import KafkaAway
from jobs.maintenance import Maintained
from jobs.silver.derive import Derived
from jobs.silver.merge import Withdrawn
from jobs.streaming.heartbeat import exclusive
from sinks.history import Pushed
from tailrace.cli import app as cli
from tailrace.cli.output import (
    blocked_lines,
    derived_lines,
    first_load_lines,
    maintained_lines,
    runs_table,
    set_aside_lines,
)
from tailrace.errors import is_retryable
from tailrace.settings import read_settings
from tailrace.workspace.refresh import Report, refresh_json, views_to_recount
from tailrace.workspace.workspace import Workspace
from tests import feeds

AT = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
DONE = Maintained(files_before=31, files_after=2, removed_files=1200, removed_bytes=3_400_000)
HELD = Maintained(files_before=2, files_after=2, held_by="version 7 is older than the retention and needed by x")
FAILED = Maintained(files_before=31, files_after=31, failure="online store: down")


def report(*, withdrawn=None, to_recount=(), **maintained):
    return Report(
        as_of=AT,
        seconds=1.0,
        landed=feeds.loaded(),
        refreshed={},
        pushed={},
        maintained=maintained,
        gates={},
        withdrawn=withdrawn or {},
        to_recount=to_recount,
    )


def test_a_refresh_tells_of_maintenance_only_where_something_was_done():
    assert "maintained" not in refresh_json(report())
    assert refresh_json(report(pairs=DONE))["maintained"] == {"pairs": asdict(DONE)}


def test_people_are_told_what_was_done_to_a_table_what_holds_it_and_what_stopped_it():
    told = maintained_lines({name: asdict(one) for name, one in {"a": DONE, "b": HELD, "c": FAILED}.items()})

    assert told == [
        "a: 31 data files rewritten as 2, 1,200 files removed (3,400,000 bytes)",
        "b: 2 data files, nothing removed: version 7 is older than the retention and needed by x",
        "c: maintenance stopped: online store: down",
    ]


def test_what_follows_from_files_set_aside_is_reported_only_where_there_are_some():
    shown = refresh_json(report(withdrawn={"silver.a": Withdrawn(replaced=2, removed=1)}, to_recount=("p", "d")))

    assert {"taken_back", "recount"} & {*refresh_json(report())} == set()
    assert shown["taken_back"] == {"silver.a": {"replaced": 2, "removed": 1}}
    assert shown["recount"] == {"views": ["p", "d"], "command": "tailrace rebuild p d"}
    in_silver, in_stream = set_aside_lines(shown)
    assert "2 rows were replaced" in in_silver
    assert "`tailrace rebuild p d`" in in_stream


def test_derived_sources_are_reported_only_where_there_are_some_and_in_words_only_where_something_came():
    one = Derived(how="full", why="the definition changed", parents=3, rows=7, changed=2, seconds=1.0)
    quiet = replace(one, parents=0, why=None)

    assert "derived" not in refresh_json(report())
    shown = refresh_json(replace(report(), derived={"silver.words": one, "silver.quiet": quiet}))
    assert shown["derived"]["silver.words"] == asdict(one)
    assert [*derived_lines(shown)] == [
        "silver.words: 2 of 7 rows changed, of 3 parents derived (the definition changed)"
    ]


def test_blocked_sources_and_the_views_that_wait_for_them_are_reported_with_their_reasons():
    away, odd = KafkaAway("nobody answers"), AnalysisException("line one\nline two")
    sources = blocked_in("bronze", {"clicks": away}) | blocked_in("silver", {"words": odd})
    done = replace(report(), blocked=sources, waiting={"by_page": ("clicks",)})

    assert {"blocked", "views_waiting"} & {*refresh_json(report())} == set()
    shown = refresh_json(done)
    assert shown["blocked"]["clicks"] == {
        "layer": "bronze", "kind": "KafkaAway", "why": "nobody answers", "retryable": True
    }  # fmt: skip
    assert (shown["blocked"]["words"]["kind"], "two" in shown["blocked"]["words"]["why"]) == (
        "AnalysisException",
        False,
    )
    assert shown["views_waiting"] == {"by_page": ["clicks"]}
    of_clicks, of_words, of_view = blocked_lines(shown)
    assert all(word in of_clicks for word in ("clicks", "bronze", "nobody answers"))
    assert all(word in of_view for word in ("by_page", "clicks"))
    assert "words" in of_words
    error = SourcesBlocked(done, done.blocked)
    assert (is_retryable(error), "clicks" in str(error), "words" in str(error)) == (True, True, True)


@pytest.mark.parametrize(
    ("files", "kafka", "counted"),
    [
        (("events/a.jsonl",), "", True),
        (("documents/a.jsonl", "events/kafka:t/0"), "", False),
        (("events/kafka:t/0@3",), "k:9092", True),
        (("events/a.jsonl",), "k:9092", False),
    ],
)
def test_the_views_of_the_stream_are_named_where_it_reads_what_was_set_aside(tmp_path, files, kafka, counted):
    folder = tmp_path / "features"
    folder.mkdir()
    (folder / "all.py").write_text(
        "from tailrace.shipped.document_recent import *\nfrom tailrace.shipped.actor_document_recent import *\n"
    )
    home = Workspace(
        settings=read_settings(
            {"TAILRACE_HOME": str(tmp_path), "TAILRACE_FEATURES": str(folder), "TAILRACE_KAFKA": kafka}
        )
    )

    before = views_to_recount(home, FilesToExclude(files, "why"))
    with exclusive(tmp_path):
        pass

    assert before == ()
    assert views_to_recount(home, FilesToExclude(files, "why")) == (
        tuple(home.definitions.stream_views) if counted else ()
    )
    assert home.definitions.stream_views
    assert views_to_recount(home, None) == ()


def test_people_are_told_of_tombstones_that_went():
    [told] = maintained_lines({"history.pairs": asdict(Maintained(files_before=1, files_after=1, swept=1_234))})

    assert told == "history.pairs: 1,234 tombstones removed from the store, 1 data files"


def test_people_are_told_the_rate_of_a_first_load():
    first = Pushed(how="first load", pushed=1_500, seconds=9.5, write_seconds=0.25)

    told = first_load_lines({"a": first, "b": Pushed(how="changes", pushed=1_500, write_seconds=0.25)})

    assert told == ["first load of a: 1,500 rows written in 0.2 s, 6,000 a second"]


def test_a_run_is_shown_view_by_view_and_a_failure_with_its_reason():
    pushed: dict[str, Any] = {
        "how": "changes",
        "why": None,
        "failure": None,
        "change_rows": 1_500,
        "net": 900,
        "pushed": 700,
    }
    pushed |= {"removed": 50, "suppressed": 149, "stale": 1, "seconds": 1.25, "rows_per_second": 1_600}
    snapshot = pushed | {"how": "snapshot", "why": "the table was created anew"}
    views = {"a": pushed, "b": snapshot, "c": pushed | {"failure": "StoreError: down"}}
    console = Console(width=200, record=True)

    console.print(runs_table({"started_at": "2026-03-02T10:15:00Z", "allowed": "new quarter", "views": views}))

    text = console.export_text()
    assert "2026-03-02T10:15:00Z, allowed: new quarter" in text
    assert "snapshot: the table was created anew" in text
    assert "failed: StoreError: down" in text
    [line] = [line for line in text.splitlines() if line.startswith("│ a")]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        *("a", "changes", "1,500", "900", "700", "149", "1", "50", "1.2", "1,600"),
    ]


@pytest.mark.parametrize(
    ("command", "status"), [(["refresh"], 1), (["run", "bronze"], 1), (["run", "bronze", "--report", "FILE"], 0)]
)
def test_a_command_fails_where_a_source_is_blocked_and_prints_what_it_did_unless_it_is_reported(
    monkeypatch, tmp_path, command, status
):
    """Who asks for a report finds it there: a task that failed would keep others from what comes after it."""
    done = replace(report(), blocked=blocked_in("bronze", {"clicks": KafkaAway("nobody answers")}))

    def refresh(*_, **__):
        raise SourcesBlocked(done, done.blocked)

    monkeypatch.setattr(Workspace, "refresh", refresh)
    monkeypatch.setattr(Workspace, "run_layer", lambda *_, **__: done.landed.json() | blocked_json(done.blocked, {}))
    words = [str(tmp_path / "report.json") if word == "FILE" else word for word in command]

    result = CliRunner().invoke(cli.app, [*words, "--json"])

    assert result.exit_code == status, result.output
    shown = json.loads(result.stdout.splitlines()[-1])
    assert (shown["blocked"]["clicks"]["kind"], shown["blocked"]["clicks"]["retryable"]) == ("KafkaAway", True)
