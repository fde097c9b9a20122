"""Fingerprints that homes and stores hold are pinned: no refactoring may change one.

`fingerprints.json` has those of the shipped views, and of an example of every kind. Whoever adds a kind adds its line;
whoever changes another one has every home compute its views anew, or push them.
"""

import json
from dataclasses import dataclass, field, make_dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tailrace.definitions import Count, DefinitionError, Distinct, Feature, Last, Type, load_definitions
from tailrace.definitions.fingerprints import description, plain
from tailrace.definitions.stream_view import StreamView, finest_view
from tests.tailrace.definitions.test_aggregations import LINES
from tests.tailrace.definitions.test_fingerprints import ACTOR, DOCUMENT, VIEW

PINNED = json.loads(Path(__file__).with_name("fingerprints.json").read_text())
SHIPPED = load_definitions()
BARE = replace(VIEW, aggregations=(), online_when=None)
STREAMED = (Count(name="n", over=("15m",)), Last(name="seen_at"))
PAIRS = replace(BARE, entities=(ACTOR, DOCUMENT), lane="stream", aggregations=STREAMED)
[OF_PAIRS] = filter(None, [finest_view([PAIRS] if isinstance(PAIRS, StreamView) else [])])
EXAMPLES = {
    **{type(line).__name__: replace(BARE, aggregations=(line,)) for line in LINES},
    "every option": VIEW,
    "stream of pairs": OF_PAIRS,
    "stream": replace(
        BARE,
        lane="stream",
        aggregations=(Distinct(name="n", rows_of="pairs", active="events", over=("1h",)), *STREAMED[1:]),
    ),
    "direct": replace(BARE, lane="direct", written_features=(Feature("score", Type.FLOAT64, "a score", minimum=0),)),
}


@pytest.mark.parametrize("name", SHIPPED.views)
def test_a_shipped_view_keeps_the_fingerprints_that_homes_and_stores_hold(name):
    view = SHIPPED.view(name)
    former = SHIPPED.former_fingerprint(view)

    found = {"former": former, "definition": SHIPPED.fingerprint(view)} | of_store(view)

    assert found == PINNED["shipped"][name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_view_of_every_kind_keeps_its_fingerprints(name):
    view = EXAMPLES[name]

    assert {"definition": view.definition_fingerprint} | of_store(view) == PINNED["examples"][name]


def of_store(view):
    return {"schema": view.fingerprint, "publication": view.publication_fingerprint}


def test_a_description_is_plain_and_leaves_out_what_was_not_declared():
    assert description(VIEW) == {
        "format": 1,
        "keys": ["document_id"],
        "features": [["views_3h", "bigint"], ["views_7d", "bigint"], ["seen_at", "timestamp"]],
        "aggregations": [
            ["Count", {"name": "views", "over": ["3h", "7d"], "types": ["view"]}],
            ["Last", {"name": "seen_at"}],
        ],
    }


def test_a_new_optional_field_changes_no_fingerprint_until_somebody_gives_it():
    later = make_dataclass(
        "Count", [("rounded", bool, field(default=False))], bases=(Count,), frozen=True, kw_only=True
    )
    later.__module__ = Count.__module__
    _, seen_at = VIEW.aggregations

    def fingerprint(**options):
        line = later(name="views", over=("3h", "7d"), types=("view",), **options)
        return replace(VIEW, aggregations=(line, seen_at)).definition_fingerprint

    assert fingerprint() == VIEW.definition_fingerprint != fingerprint(rounded=True)


def test_what_a_feature_means_decides_no_row():
    explained = replace(EXAMPLES["direct"].written_features[0], meaning="in other words", minimum=None)

    assert replace(EXAMPLES["direct"], written_features=(explained,)).definition_fingerprint == (
        EXAMPLES["direct"].definition_fingerprint
    )


def test_another_function_of_the_same_file_is_another_transform():
    def one(documents):
        return documents

    def other(documents):
        return documents

    of_one, of_other = (
        replace(BARE, transform=transform, transform_features=(Feature("size", Type.INT64, ""),))
        for transform in (one, other)
    )

    assert of_one.definition_fingerprint != of_other.definition_fingerprint


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (Type.INT64, "bigint"),
        ((1, 2.5, True, None), [1, 2.5, True, None]),
        ({"b", "a"}, ["a", "b"]),
        ({1: timedelta(minutes=1)}, {"1": 60.0}),
        (Decimal("1.50"), "1.50"),
    ],
    ids=["type", "tuple", "set", "mapping", "decimal"],
)
def test_options_of_a_projects_own_aggregations_are_spelled_the_same_in_every_process(value, spelled):
    assert json.loads(json.dumps(plain(value, of="here"))) == spelled


def test_an_option_whose_text_would_be_another_in_each_process_is_refused_naming_it():
    @dataclass(frozen=True)
    class Own:
        by: object

    with pytest.raises(DefinitionError, match="here, field 'by': a object"):
        plain(Own(by=object()), of="here")
