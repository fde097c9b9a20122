"""A view may say how old its watermark may be for its values to be told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tailrace.shipped.document_activity import document_activity

ASKED = {"document_id": ["d1", "unknown"]}


@pytest.fixture
def ask(store, start_reader, definitions):
    """The answers about a view of at most an hour, pushed so long ago."""

    def go(age, feature="document_activity:edits_24h"):
        limited = replace(document_activity, max_age=timedelta(hours=1))
        now = datetime.now(UTC)
        store.put(limited, {"document_id": "d1"}, {"edits_24h": 3, "edits_7d": 6}, as_of=now - timedelta(days=9))
        if age is not None:
            store.push(limited, watermark=now - age)
        reader = start_reader(replace(definitions, views=definitions.views | {limited.name: limited}))
        return reader.values(feature, entities=ASKED)

    return go


def test_values_of_a_view_that_is_young_enough_are_told_however_old_they_are(ask):
    assert ask(timedelta(minutes=50)) == [(3, "PRESENT"), (None, "NOT_FOUND")]


@pytest.mark.parametrize("age", [timedelta(minutes=70), None])
def test_values_of_an_older_view_or_one_of_unknown_age_are_withheld(ask, age):
    assert ask(age) == [(None, "OUTSIDE_MAX_AGE"), (None, "NOT_FOUND")]


def test_what_is_made_of_them_is_withheld_too(ask):
    assert ask(timedelta(minutes=70), "edit_trend") == [(None, "OUTSIDE_MAX_AGE"), (None, "NOT_FOUND")]
