"""What a command leaves for whoever scheduled it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs import maintenance
from jobs.bronze.topic import KafkaAway
from jobs.gold.compute import TransformError
from jobs.maintenance import Maintained
from sinks.net_changes import BreakerOpen
from tailrace.cli.run_report import Differs, compared_line, differing, error_entry, reported, show_words
from tailrace.errors import CommandError, UnexpectedError
from tailrace.lake.delta_log import Overtaken
from tailrace.lake.tables import LakeError
from tailrace.quality.gate import GateFailed
from tailrace.schemas.landing import LandingError
from tailrace.settings import SettingsError
from tailrace.store.control import LeaseLost, OtherLane
from tailrace.store.dynamodb.connections import CredentialsError
from tailrace.store.failures import StoreError
from tailrace.workspace import refresh
from tests import feeds

STOPPED = GateFailed(feeds.BRONZE_EVENTS, rows=3, misses=(), files=("events/a.jsonl",), page=Path("page.html"))
NOTHING = {"files": 0, "events": 0, "documents": 0, "direct_writes": 0, "quarantined": 0, "waiting": 0, "gates": {}}


def stop():
    raise STOPPED


def refuse():
    raise CommandError("no such thing")


def test_figures_are_written_with_words_for_people(tmp_path):
    told = reported("bronze", lambda: NOTHING, tmp_path / "runs" / "bronze.json")

    assert told["words"] == ["0 files landed: 0 events, 0 documents"]
    assert json.loads((tmp_path / "runs" / "bronze.json").read_bytes()) == told
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["bronze.json"]


@pytest.mark.parametrize(
    ("to", "as_json", "printed"),
    [
        (None, False, "0 files landed\n"),
        (Path("report.json"), False, ""),
        (Path("report.json"), True, '{"words":["0 files landed"]}\n'),
    ],
)
def test_words_are_printed_unless_a_report_has_them(capsys, to, as_json, printed):
    show_words({"words": ["0 files landed"]}, to, as_json=as_json)

    assert capsys.readouterr().out == printed


def test_what_a_layer_did_is_told_view_by_view():
    gold = {"changed": 1, "gold_rows": 2_000, "how": "full", "why": "asked for", "seconds": 1.26}
    gold |= {"uncounted": {"price": 1_234}}
    pushed = {"pushed": 3, "removed": 2, "suppressed": 1, "why": "the log has a hole", "seconds": 0.5}
    gates = {"gold.a": {"rows": 1, "expectations": 4, "seconds": 0.2}}

    of_gold = reported("gold", lambda: {"views": {"a": gold}, "gates": gates}, None)
    of_publish = reported("publish", lambda: {"views": {"a": pushed}, "gates": {}}, None)

    assert of_gold["words"] == [
        "a: 1 of 2,000 rows changed, full (asked for), 1.3 s. 1,234 events have a value that does not count in price.",
        "Quality gate: 1 new rows of 1 tables met all of 4 expectations, 0.2 s.",
    ]
    assert of_publish["words"] == [
        "a: 3 values written, 2 removed, 1 equal, compared as a whole because the log has a hole, 0.5 s."
    ]


def test_what_the_gate_stopped_is_told_in_the_report_or_raised_where_there_is_none(tmp_path):
    told = reported("bronze", stop, tmp_path / "report.json")

    assert (told["stopped"]["table"], told["stopped"]["rows"], told["stopped"]["files"]) == (
        "bronze.events",
        3,
        ("events/a.jsonl",),
    )
    assert told["words"] == [str(STOPPED)]
    with pytest.raises(GateFailed, match="--set-aside events/a"):
        reported("bronze", stop, None)


def test_other_errors_are_told_in_the_report_and_raised(tmp_path):
    with pytest.raises(CommandError):
        reported("gold", refuse, tmp_path / "report.json")

    error = json.loads((tmp_path / "report.json").read_bytes())["error"]
    assert error == {"kind": "CommandError", "told": "no such thing", "retryable": False}


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (CommandError("a"), False),
        (SettingsError("a"), False),
        (CredentialsError("a"), True),
        (TransformError("a"), False),
        (LandingError("a"), False),
        (Differs("a"), False),
        (BreakerOpen("a"), False),
        (LakeError("a"), False),
        (Overtaken("a"), True),
        (LeaseLost("a"), True),
        (OtherLane("a"), False),
        (StoreError("Throttled", "a"), True),
        (KafkaAway("a"), True),
        (UnexpectedError("a", log=None), True),
        (ZeroDivisionError("a"), True),
        (OSError("a"), True),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_report_says_of_an_error_whether_its_class_may_be_retried(error, retryable):
    assert error_entry(error, "a") == {"kind": type(error).__name__, "told": "a", "retryable": retryable}


def test_a_comparison_names_the_views_that_differ_and_counts_what_was_mended():
    same = {"missing": 0, "ghost": 0, "different": 0, "repaired": 0}
    views = {"a": same, "b": same | {"missing": 2, "repaired": 2}, "c": same | {"different": 1}}
    found = {"compared": 9, "missing": 2, "ghost": 0, "different": 1, "repaired": 2, "views": views}

    assert differing(found) == 1
    assert compared_line(found) == (
        "9 rows compared: 2 missing, 0 ghost, 1 different, 2 repaired; views that differ: c"
    )


MAINTAINED = {"tables": {}, "forgotten_writes": 0, "lost_schemas": {}, "undefined": {}, "failure": None}


def test_maintenance_names_the_schemas_that_are_lost_beside_their_history():
    figures = MAINTAINED | {"lost_schemas": {"visits": ["00ab", "00cd"]}}

    [line] = reported("maintain", lambda: figures, None)["words"]

    assert all(name in line for name in ("history.visits", "00ab", "00cd"))


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ({"gold": True, "history": True, "store": True, "lane": "batch"}, ["gold.sharing", "values in the store"]),
        (
            {"gold": False, "history": True, "store": False, "lane": None},
            ["history.sharing", "drop sharing --history`"],
        ),
        ({"gold": True, "history": False, "store": None, "lane": None}, ["in the store perhaps", "drop sharing`"]),
    ],
)
def test_maintenance_names_views_that_no_definition_has_and_what_removes_them(left, said):
    [line] = reported("maintain", lambda: MAINTAINED | {"undefined": {"sharing": left}}, None)["words"]

    assert [words for words in said if words not in line] == []


def test_maintenance_reports_what_became_of_tables_where_the_store_is_away(monkeypatch):
    def away(_):
        raise StoreError("Unreachable", "nobody answers")

    monkeypatch.setattr(maintenance, "run", lambda *_: {"gold.visits": Maintained(files_before=9)})
    monkeypatch.setattr(maintenance, "schemas_lost", lambda *_: {})
    monkeypatch.setattr(refresh, "look_over", away)
    home: Any = SimpleNamespace(lake=None, definitions=None, store=None)

    shown = reported("maintain", lambda: refresh.maintain_all(home), None)

    assert shown["tables"]["gold.visits"]["files_before"] == 9
    assert "nobody answers" in shown["failure"]
    assert "nobody answers" in shown["words"][-1]
