"""Keys that the store refuses: which are left out, until when, and what is known of them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest

from jobs.streaming.checkpoint import MOST, Parked, RefusedByStore
from jobs.streaming.event_rows import keyed, storable
from jobs.streaming.micro_batch import MicroBatch
from tailrace.definitions import Entity, StreamView
from tailrace.definitions.stream_view import finest_view
from tailrace.shipped.document_recent import document_recent
from tailrace.store.keys import ItemKeyError
from tailrace.store.writer import Outcome

HORIZON = 80


def refused(*keys, more=0):
    return Outcome(refused=len(keys) + more, failed=[(key, "ValidationException: too large") for key in keys])


@pytest.fixture
def parked(tmp_path):
    """The parked keys as another process finds them, of which k1 of view a is one."""
    Parked(tmp_path / "checkpoint").park("a", refused("k1"), {"k1": 100})
    return Parked(tmp_path / "checkpoint")


def left_out(parked, view="a", **minutes):
    return parked.exclude(view, list(minutes), np.array(list(minutes.values())), horizon=HORIZON).tolist()


def test_a_parked_key_is_left_out_of_its_view_until_no_window_holds_what_was_left_out(parked):
    assert left_out(parked, k0=100, k1=100) == [False, True]
    assert left_out(parked, "b", k1=100) == [False]
    assert left_out(parked, k1=180) == [True]
    assert left_out(parked, k1=260) == [True]  # of the event at 180
    assert left_out(parked, k1=341) == [False]


def test_keys_of_views_that_the_stream_no_longer_has_are_forgotten(parked, tmp_path):
    parked.park("b", refused("k2"), {"k2": 100})
    parked.keep_only(["b", "c"])

    assert [(one.view, one.key) for one in Parked(tmp_path / "checkpoint").keys] == [("b", "k2")]


def test_a_late_event_shortens_no_time(parked):
    assert left_out(parked, k1=20) == [True]
    assert left_out(parked, k1=180) == [True]


def test_a_key_whose_value_is_taken_is_parked_no_longer(parked, tmp_path, caplog):
    parked.release("a", ["k0", "k1"])

    assert "'k1' is parked no longer" in caplog.text
    assert Parked(tmp_path / "checkpoint").keys == []


def test_one_that_is_refused_again_is_parked_since_the_first_time_and_said_once(parked, tmp_path, caplog):
    since = parked.keys[0].since
    parked.park("a", refused("k1"), {"k1": 300})

    (one,) = Parked(tmp_path / "checkpoint").keys
    assert (one.view, one.key, one.since, one.minute) == ("a", "k1", since, 300)
    assert "too large" in one.reason
    assert not caplog.messages


@pytest.mark.parametrize(
    "outcome", [refused(*map(str, range(MOST))), refused("k2", more=1)], ids=["too many", "unnamed"]
)
def test_a_store_that_refuses_nearly_everything_stops_the_stream(parked, tmp_path, outcome):
    with pytest.raises(RefusedByStore, match=r"view a: the store refuses .*too large"):
        parked.park("a", outcome, dict.fromkeys((key for key, _ in outcome.failed), 1))
    assert len(Parked(tmp_path / "checkpoint").keys) == 1


def test_a_stream_without_parked_keys_writes_nothing_of_them(tmp_path):
    parked = Parked(tmp_path / "checkpoint")
    parked.park("a", Outcome(written=1), {"k1": 1})
    parked.release("a", ["k1"])
    parked.forget()

    assert left_out(parked, k1=1) == [False]
    assert list(Path(tmp_path).iterdir()) == []


@pytest.fixture
def long_ids():
    """Rows of two pairs, of which one has ids that are 1,000 bytes each under names that are long."""
    views = [
        replace(cast("StreamView", document_recent), name=name, entities=(entity,), where=None)
        for name, entity in (
            ("by_query", Entity("a_query_that_somebody_typed", "query")),
            ("by_page", Entity("a_page_of_the_handbook", "page")),
        )
    ]
    pair = replace(views[0], name="pairs", entities=tuple(view.entities[0] for view in views))
    finest = finest_view([*views, pair])
    rows = {"key_query": ["q" * 1_000, "q", "q" * 1_000], "key_page": ["p" * 1_000, "p", "p" * 1_000]}
    return pd.DataFrame(rows | {"at": [120_000_000, 60_000_000, 60_000_000]}), (finest, *views)


def test_a_key_that_no_store_takes_is_parked_by_name_and_the_others_go_on(tmp_path, long_ids):
    rows, views = long_ids
    found = SimpleNamespace(finest=views[0], parked=Parked(tmp_path / "checkpoint"))

    with pytest.raises(ItemKeyError):
        keyed(rows, views)
    left = MicroBatch.park_too_long(cast("MicroBatch", found), rows)

    assert left["key_query"].tolist() == ["q"]
    [one] = Parked(tmp_path / "checkpoint").keys
    assert (one.view, one.minute, one.key.endswith("q" * 1_000)) == ("pairs", 2, True)
    assert "2048" in one.reason


def test_a_recount_leaves_out_what_the_stream_leaves_out(long_ids):
    rows, views = long_ids

    left, found = storable(rows, views)

    assert left["key_page"].tolist() == ["p"]
    assert {name: len(keys) for name, keys in found.keys.items()} == {"pairs": 1, "by_query": 1, "by_page": 1}
