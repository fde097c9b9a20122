"""`features diff` says before a refresh what that then does."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tailrace.definitions import BATCH, Count, Definitions, FeatureView, load_definitions
from tailrace.definitions.stream_view import finest_view
from tailrace.schemas.tables import Column, Type
from tailrace.shipped.document_recent import document_recent
from tailrace.shipped.document_relevance import document_relevance
from tailrace.shipped.entities import ACTOR, DOCUMENT
from tailrace.store.control import Control, stored_schema
from tailrace.workspace.definition_changes import Kept, change_lines, change_of
from tailrace.workspace.refresh import refresh
from tailrace.workspace.workspace import Workspace
from tests.tailrace.lake.copies import home_with

AS_OF = datetime(2026, 3, 10, 12, tzinfo=UTC)
HEAD = """
from datetime import timedelta
from tailrace import Count, DerivedSource, Entity, EventSource, FeatureView, Field, STRING, Time

searches = EventSource(name="searches", id="id", time=Time("at"), fields=(Field("q", STRING), {fields}))
QUERY = Entity(name="query", key="q")
plain = EventSource(name="plain", id="id", time=Time("at"), fields=(Field("q", STRING),))
words = DerivedSource(name="words", of=plain, transform=lambda rows: {derived}, fields=(Field("q", STRING),))
FACTS = dict(source=searches, entities=(QUERY,), owner="search", description="", freshness=timedelta(hours=1))
"""
VIEW = '{0} = FeatureView(name="{0}", **FACTS, {1})\n'
FIRST = {
    "same": 'aggregations=(Count(name="n", over=("7d",)),)',
    "wider": 'aggregations=(Count(name="n", over=("7d",)),), online_when="n_7d > 0"',
    "other": 'aggregations=(Count(name="n", over=("7d",)),)',
    "shown": 'aggregations=(Count(name="n", over=("7d",)),)',
    "gone": 'aggregations=(Count(name="n", over=("7d",)),)',
}
THEN = FIRST | {
    "wider": 'aggregations=(Count(name="n", over=("7d", "total")),), online_when="n_7d > 0"',
    "other": 'aggregations=(Count(name="n", over=("7d",)),), where="q <> \'q3\'"',
    "shown": 'aggregations=(Count(name="n", over=("7d",)),), online_when="n_7d > 1"',
    "added": 'aggregations=(Count(name="n", over=("7d",)),)',
}
del THEN["gone"]


def define(folder, views, *fields, derived="rows"):
    folder.mkdir(exist_ok=True)
    lines = "".join(VIEW.format(name, rest) for name, rest in views.items())
    text = HEAD.format(fields="".join(f'Field("{name}", STRING),' for name in fields), derived=derived)
    # A file of another name each time: one that was written within the same second may be taken for the one before.
    for old in folder.glob("*.py"):
        old.unlink()
    (folder / f"views_{len(fields)}.py").write_text(text + lines)


@pytest.mark.slow
def test_the_diff_says_what_the_refresh_then_computes_and_pushes(make_settings, empty_tables, tmp_path):
    settings = home_with(empty_tables, make_settings(TAILRACE_FEATURES=str(tmp_path / "features")))
    landing = settings.home / "landing" / "searches"
    landing.mkdir(parents=True)
    rows = [{"id": f"i{i}", "at": "2026-03-09T10:00:00Z", "q": f"q{i % 4}"} for i in range(6)]
    rows.append({"id": "old", "at": "2026-02-09T10:00:00Z", "q": "q9"})  # in no window of a week
    (landing / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    define(tmp_path / "features", FIRST, "user")
    empty = Workspace(settings=settings).diff()
    refresh(Workspace(settings=settings), as_of=AS_OF)
    before = Workspace(settings=settings).diff()
    define(tmp_path / "features", THEN, "shop", "place", derived="rows.where('true')")

    diff = Workspace(settings=settings).diff()
    report = refresh(Workspace(settings=settings), as_of=AS_OF)
    after = Workspace(settings=settings).diff()

    assert {(one["change"], one["computes"]["full"]) for one in empty["views"].values()} == {("new", True)}
    assert empty["sources"]["searches"]["change"] == "new"
    assert {one["change"] for one in (*before["views"].values(), *before["sources"].values())} == {"unchanged"}
    assert {name: one["change"] for name, one in diff["views"].items()} == {
        "same": "unchanged",
        "wider": "features changed",
        "other": "definition changed",
        "shown": "online_when changed",
        "added": "new",
    }
    assert diff["sources"]["searches"] == {
        "change": "fields changed",
        "added": ["shop", "place"],
        "removed": ["user"],
        "retyped": [],
    }
    assert (diff["sources"]["words"]["change"], report.derived["silver.words"].how) == ("definition changed", "full")
    assert list(diff["undefined"]) == ["gone"]
    for name, one in diff["views"].items():
        done, pushed = report.refreshed[name], report.pushed[name]
        assert one["computes"]["full"] == (done.how == "full"), (name, done.why)
        rows, written = one["pushes"]["rows"], pushed.pushed + pushed.removed
        if rows is not None:
            assert written <= rows if one["pushes"]["at_most"] else written == rows, name
    # Of five queries q9 is not online; q2, q3 and q9 are no longer shown, of which q9 has been all along.
    assert [diff["views"]["wider"]["pushes"][name] for name in ("rows", "at_most", "write_units")] == [4, False, 4]
    assert diff["views"]["wider"]["pushes"]["bytes"] > 0
    assert [diff["views"]["other"]["computes"]["rows"], report.pushed["other"].removed] == [5, 1]
    assert {one["change"] for one in after["views"].values()} == {"unchanged"}
    assert any("gone" in line for line in change_lines(diff))


def written(view, *, features=None, **fields):
    return Control(sequence=3, features=stored_schema(features or view.features), lane=view.lane, **fields)


OTHER = (Column("other", Type.INT64, ""),)


@pytest.mark.parametrize(
    ("view", "kept", "change", "command"),
    [
        (document_recent, Kept(), "new", None),
        (document_recent, Kept(control=written(document_recent), streamed="0" * 16), "definition changed", "rebuild"),
        (document_recent, Kept(control=written(document_recent)), "unchanged", None),
        (document_recent, Kept(control=written(document_recent, features=OTHER)), "features changed", "rebuild"),
        (document_relevance, Kept(), "new", None),
        (document_relevance, Kept(control=written(document_relevance, features=OTHER)), "features changed", None),
        (document_relevance, Kept(control=Control(lane=BATCH)), "lane changed", "rebuild"),
    ],
)
def test_views_of_other_lanes_say_which_command_brings_them_to_their_definition(view, kept, change, command):
    shown = change_of(view, kept, load_definitions(), price=1.0)

    assert shown["change"] == change
    assert (shown["computes"], shown["pushes"]["rows"]) == ({"full": False, "rows": 0}, 0)
    assert (shown["command"] or "") == (f"tailrace {command} {view.name}" if command else "")


def test_the_view_that_a_stream_counts_by_is_rebuilt_by_the_names_of_those_that_are_counted():
    views = {
        name: replace(document_recent, name=name, entities=entities, aggregations=(Count(name="n", over=("1h",)),))
        for name, entities in (("by_document", (DOCUMENT,)), ("by_actor", (ACTOR,)))
    }
    declared = Definitions(views=views, on_demand={}, services={})
    definitions = replace(declared, finest=finest_view(tuple(declared.stream_views.values())))
    [(name, finest)] = [one for one in definitions.kept_views.items() if one[0] not in views]
    kept = Kept(control=written(finest), streamed="0" * 16)

    shown = change_of(finest, kept, definitions, price=1.0)

    assert name == finest.name
    assert (shown["change"], shown["command"]) == ("definition changed", "tailrace rebuild by_document by_actor")


def test_a_new_view_says_that_its_rows_are_not_known_yet():
    view = FeatureView(
        name="opens",
        entities=(DOCUMENT,),
        owner="tests",
        description="",
        freshness=timedelta(hours=1),
        aggregations=(Count(name="opens", over=("1h",)),),
    )

    shown = change_of(view, Kept(), Definitions(views={"opens": view}, on_demand={}, services={}), price=1.0)

    assert (shown["computes"], shown["pushes"]["rows"]) == ({"full": True, "rows": None}, None)
    diff = {"views": {"opens": shown}, "sources": {}, "undefined": {}}
    assert "new views" in next(change_lines(diff))
