"""Aggregations own their algebra: what one lacks is found when definitions are loaded, and a project may add its own."""

import re
from dataclasses import dataclass, replace

import pytest

from jobs.gold.incremental import facts_of
from tailrace.definitions import (
    Count,
    DefinitionError,
    Distinct,
    First,
    FirstValue,
    Last,
    LastValue,
    Max,
    Mean,
    Min,
    NewestIs,
    StdDev,
    Sum,
    Type,
    Variance,
)
from tailrace.definitions.aggregations.aggregation import Aggregation, check_parts
from tailrace.definitions.aggregations.gold_column import GoldColumn, added, follows, settled
from tailrace.definitions.fingerprints import former_definition_fingerprint
from tailrace.schemas.tables import Column
from tests import feeds
from tests.tailrace.definitions.outside import Largest
from tests.tailrace.definitions.test_fingerprints import VIEW

LINES = [
    Count(name="n", over=("1h", "total")),
    Sum(name="n", of="dwell", over=("1h", "total")),
    Mean(name="n", of="dwell", over=("1h", "total")),
    Variance(name="n", of="dwell", over=("1h", "total")),
    StdDev(name="n", of="dwell", over=("1h", "total")),
    Max(name="n", of="dwell", over=("1h", "total")),
    Min(name="n", of="dwell", over=("1h", "total")),
    FirstValue(name="n", of="dwell", over=("1h", "total")),
    LastValue(name="n", of="dwell", over=("1h", "total")),
    Distinct(name="n", rows_of="pairs", active="events", over=("1h", "total")),
    First(name="n"),
    Last(name="n"),
    NewestIs(name="n", type="delete"),
    Largest(name="n", of="pages"),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_every_aggregation_says_how_all_that_it_declares_is_computed_and_maintained(line):
    check_parts(line, feeds.EVENT_WORDS, here="here")


@dataclass(frozen=True, kw_only=True)
class Odd(Aggregation):
    """An aggregation of one feature, made from parts that a test gives."""

    parts: tuple[GoldColumn, ...] = ()
    of_rows: str | None = None

    @property
    def features(self):
        return (Column(self.name, Type.INT64, ""),)

    @property
    def columns(self):
        return self.parts

    @property
    def base_view(self):
        return self.of_rows


WHOLE = settled("n", full="max(x)", candidate="max(y)", better="greatest(old.n, new.n)")
COUNTED = added("n", full="count(x)", difference="y", change="z")
LACKING = {
    "lacks the column 'n' in its part 'columns'": Odd(name="n"),
    "has 'm' in its part 'columns'": Odd(name="n", parts=(WHOLE, replace(WHOLE, name="m"))),
    "has 'n' in its part 'columns'": Odd(name="n", parts=(WHOLE, WHOLE)),
    "lacks the part 'full' of its column 'n'": Odd(name="n", parts=(replace(WHOLE, full=""),)),
    "lacks the part 'increment' of its column 'n'": Odd(name="n", parts=(added("n", full="x", difference=""),)),
    "lacks the part 'merged' of its column 'n'": Odd(
        name="n", parts=(settled("n", full="x", candidate="y", better=""),)
    ),
    "lacks the part 'inserted' of its column 'n'": Odd(
        name="n", parts=(follows("n", full="x", merged="y", inserted=""),)
    ),
    "lacks the part 'change' of its column 'n'": Odd(
        name="n", of_rows="pairs", parts=(added("n", full="x", difference="y"),)
    ),
    "cannot settle its column 'n'": Odd(name="n", parts=(replace(WHOLE, full="max(within_1h)"),)),
    "cannot settle its column 'n' over windows or a base": Odd(
        name="n", of_rows="pairs", parts=(replace(WHOLE, change="z"),)
    ),
}


@pytest.mark.parametrize(("said", "line"), LACKING.items(), ids=LACKING)
def test_what_an_aggregation_lacks_is_refused_naming_it_and_the_part(said, line):
    with pytest.raises(DefinitionError, match=f"^here: aggregation Odd {re.escape(said)}"):
        check_parts(line, feeds.EVENT_WORDS, here="here")


def test_whole_parts_are_accepted():
    check_parts(Odd(name="n", parts=(WHOLE,)), feeds.EVENT_WORDS, here="here")
    check_parts(Odd(name="n", of_rows="pairs", parts=(COUNTED,)), feeds.EVENT_WORDS, here="here")
    check_parts(
        Odd(name="n", parts=(follows("n", full="x", merged="y", inserted="z"),)), feeds.EVENT_WORDS, here="here"
    )


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("    pass", "features"),
        ("    @property\n    def features(self):\n        return (Feature(self.name, Type.INT64, ''),)", "columns"),
    ],
)
def test_definitions_with_an_aggregation_that_lacks_a_part_do_not_load(folder, body, part):
    folder.write_view(aggregations="(Least(name='least_pages'),)")
    file = folder.path / "visits.py"
    language = "from tailrace.definitions.aggregations.aggregation import Aggregation\n"
    file.write_text(
        file.read_text().replace("DOCUMENT =", f"{language}class Least(Aggregation):\n{body}\nDOCUMENT =", 1)
    )

    with pytest.raises(
        DefinitionError, match=f"visits.py: view 'visits', feature 'least_pages': .*Least lacks .*{part}"
    ):
        folder.load()


def test_one_that_the_stream_cannot_keep_is_refused_there(folder):
    folder.write_view(lane="'stream'", aggregations="(First(name='first'),)")

    with pytest.raises(
        DefinitionError,
        match=r"feature 'first': the lane stream keeps Count, Distinct and Last without 'over', not First",
    ):
        folder.load()


def test_the_sql_of_an_aggregation_from_outside_counts_in_the_fingerprint(monkeypatch):
    def fingerprint():
        return replace(VIEW, aggregations=(Largest(name="pages", of="pages"),)).definition_fingerprint

    before = fingerprint()
    again = fingerprint()
    columns = vars(Largest)["columns"].fget
    changed = property(lambda line: tuple(replace(one, full=f"{one.full} + 0") for one in columns(line)))
    monkeypatch.setattr(Largest, "columns", changed)

    assert fingerprint() != before == again


LINES_WITH_WHERE = {
    "Count": "Count(name='n', where={}, over=('1h',))",
    "Sum": "Sum(name='n', of='dwell_seconds', where={}, over=('1h',))",
    "Mean": "Mean(name='n', of='dwell_seconds', where={}, over=('1h',))",
    "Variance": "Variance(name='n', of='file_size', where={}, over=('1h',))",
    "Max": "Max(name='n', of='dwell_seconds', where={}, over=('1h',))",
    "FirstValue": "FirstValue(name='n', of='document_id', where={}, over=('1h',))",
    "First": "First(name='n', where={})",
    "Last in a window": "Last(name='n', where={}, over=('1h',))",
    "Last": "Last(name='n', where={})",
    "NewestIs": "NewestIs(name='n', type='view', where={})",
}


@pytest.mark.parametrize("line", LINES_WITH_WHERE.values(), ids=LINES_WITH_WHERE)
def test_a_line_has_a_condition_of_its_own_and_what_it_names_is_a_fact_of_the_view(folder, line):
    folder.write_view(aggregations=f"({line.format(repr('file_size > 3'))},)", source="sized", entities="(DOCUMENT,)")
    with_source(folder)
    [view] = folder.load().batch_views.values()

    assert "file_size" in facts_of([view])
    assert "title" not in facts_of([view])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (LINES_WITH_WHERE["Count"].format("'nowhere > 1'"), "field 'where': 'nowhere' is not a field of the source"),
        (LINES_WITH_WHERE["Last"].format("'file_size > rand()'"), "field 'where': 'rand' gives another answer"),
        (LINES_WITH_WHERE["Sum"].format("'file_size >'"), "field 'where': 'file_size >' is not a SQL condition"),
        (
            LINES_WITH_WHERE["Count"].format("'file_size > 1;'"),
            "field 'where': 'file_size > 1;' is not a SQL condition",
        ),
        (LINES_WITH_WHERE["Count"].format("'title = \"${spark.app.name}\"'"), "field 'where': .* a setting of Spark"),
        (LINES_WITH_WHERE["First"].format("7"), "field 'where': give a SQL condition as a text, not 7"),
        (
            "Distinct(name='n', rows_of='pairs', active='events', where='file_size > 3', over=('1h',))",
            "field 'where': Distinct counts rows of 'pairs', .* give 'where' to what that view counts",
        ),
    ],
)
def test_a_condition_of_a_line_that_cannot_be_used_is_refused_naming_view_and_feature(folder, line, said):
    folder.write_view(aggregations=f"({line},)", source="sized")
    with_source(folder)

    with pytest.raises(DefinitionError, match=f"visits.py: view 'visits', feature 'n', {said}"):
        folder.load()


def with_source(folder):
    """Declare a source with a number and a text in the folder's file."""
    source = (
        "sized = EventSource(name='sized', id='event', time=Time('at'), type='kind', attributes='more', fields=(Field('kind', STRING), "
        "Field('more', STRING), Field('document_id', STRING), Field('file_size', INT64), Field('title', STRING)))"
    )
    file = folder.path / "visits.py"
    file.write_text(file.read_text().replace("DOCUMENT =", f"{source}\nDOCUMENT =", 1))


def test_a_projects_own_aggregation_has_a_condition_only_if_it_says_so():
    line = Largest(name="pages", of="pages", where="TRUE")

    with pytest.raises(DefinitionError, match="feature 'pages', field 'where': Largest takes no condition"):
        replace(VIEW, aggregations=(line,)).check({})


def test_the_stream_refuses_a_condition_of_a_line_and_names_the_way_out(folder):
    folder.write_view(lane="'stream'", aggregations="(Count(name='n', where='actor_id IS NULL', over=('1h',)),)")

    with pytest.raises(DefinitionError, match=r"feature 'n', field 'where': the lane stream .* a view of its own"):
        folder.load()


def test_a_condition_of_a_line_counts_in_its_fingerprints_old_and_new():
    def fingerprints(where):
        view = replace(VIEW, aggregations=(Count(name="views", where=where, over=("3h",)),))
        return view.definition_fingerprint, former_definition_fingerprint(view)

    plain, one, other = map(fingerprints, (None, "actor_id IS NULL", "actor_id IS NOT NULL"))

    assert len({*plain, *one, *other}) == 6


def test_the_first_of_some_events_may_be_after_the_last_of_others():
    first = First(name="first", where="actor_id IS NULL")

    assert not [*first.promises([first, Last(name="last")])]
    assert [*first.promises([Last(name="last", where=first.where)])] == ["first <= last"]
