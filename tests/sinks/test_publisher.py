"""Pushes, their history and their ledger: real Spark, Delta and store, one small view."""

from dataclasses import replace

import pytest

from sinks import history, protocol
from sinks import push as deeds
from sinks.net_changes import BreakerOpen
from sinks.protocol import (
    CHANGES,
    CONTROL_LOST,
    FIRST_LOAD,
    HISTORY_LOST,
    LEFT_OPEN,
    NEW_FEATURES,
    NOTHING_NEW,
    SNAPSHOT,
    StoreAhead,
)
from sinks.push import push_views
from sinks.store_values import write_changes
from tailrace.schemas import view_tables
from tailrace.store.dynamodb.calls import control_key, to_binary
from tailrace.store.dynamodb.store import ensure_table
from tests.sinks.publisher import AS_OF, VISITS


@pytest.fixture
def as_new_items(monkeypatch):
    """Whether rows were taken for the first of their items, of each part of a push."""
    written = []

    def watched(rows, address, push):
        written.append(push.new_items)
        return write_changes(rows, address, push)

    monkeypatch.setattr(deeds, "write_changes", watched)
    return written


def test_the_life_of_a_view(publisher, as_new_items):
    publisher.become(a=1, b=2, c=-3)
    first = publisher.push()
    assert (first.how, first.net, first.pushed, first.change_rows) == (FIRST_LOAD, 2, 2, 2)
    assert publisher.push().how == NOTHING_NEW

    publisher.become(a=1, b=2, c=-7)  # of nothing that is online: neither recorded nor written
    hidden = publisher.push()
    assert (hidden.how, hidden.net, hidden.pushed, hidden.suppressed) == (CHANGES, 1, 0, 1)

    publisher.become(a=1, b=5, c=3)
    second = publisher.push()
    assert as_new_items == [True, False]
    assert publisher.attributes("b") == {"visits", "visits#s"}
    assert (second.how, second.net, second.pushed, second.removed) == (CHANGES, 2, 2, 0)

    publisher.become(a=1, b=-5, d=-4)
    third = publisher.push()
    assert (third.net, third.pushed, third.removed, third.suppressed, third.change_rows) == (3, 0, 2, 1, 4)

    assert publisher.sequences() == {"a": first.sequence, "b": third.sequence, "c": third.sequence}
    assert publisher.reconcile() == (0, 0, 0)
    assert publisher.history() == [
        *((first.sequence, key, "") for key in ("a", "b", "confirmed")),
        *((second.sequence, key, "") for key in ("b", "c", "confirmed")),
        *((third.sequence, key, "gone") for key in ("b", "c")),
        (third.sequence, "confirmed", ""),
    ]


@pytest.mark.slow
def test_pushes_that_died_at_any_step_are_followed_by_one_that_writes_what_they_may_have_left(publisher, monkeypatch):
    """The model tries them at every step (`test_publisher_model.py`); these are real."""
    publisher.become(a=1, b=2)
    publisher.push()
    publisher.become(a=9, b=2, c=3)
    publisher.die_after(protocol.Write)
    publisher.lake.spark.sql(f"DELETE FROM delta.`{publisher.lake.path(VISITS.table)}` WHERE document_id = 'c'")
    publisher.become(a=1, b=2)
    done = publisher.push()
    assert (done.how, done.pushed, done.removed, done.suppressed) == (CHANGES, 1, 1, 0)
    assert publisher.reconcile() == (0, 0, 0)
    assert publisher.push().how == NOTHING_NEW

    publisher.become(a=9, b=2)
    publisher.die_after(protocol.Record)  # before it declared: it leaves no mark
    publisher.become(a=1, b=2)
    done = publisher.push()
    assert (done.pushed, done.suppressed) == (0, 1)

    publisher.become(a=9, b=2)
    publisher.die_after(protocol.Write)
    publisher.lake.spark.sql(f"DELETE FROM delta.`{publisher.lake.path(view_tables.history_table('visits'))}`")
    done = publisher.push()
    assert (done.how, done.why, done.pushed) == (SNAPSHOT, HISTORY_LOST, 2)

    publisher.lose(control_key("visits"))  # which the values that are there give away
    publisher.become(b=2)
    monkeypatch.undo()  # sequences begin at the clock
    done = publisher.push()
    assert (done.how, done.why, done.removed) == (SNAPSHOT, CONTROL_LOST, 1)
    assert publisher.reconcile() == (0, 0, 0)


@pytest.mark.slow
def test_a_first_load_that_was_left_open_is_finished_by_a_snapshot(publisher):
    publisher.become(a=1, b=2)
    publisher.die_after(protocol.Write)
    publisher.become(b=2)

    done = publisher.push()

    assert (done.how, done.why, done.pushed, done.removed) == (SNAPSHOT, LEFT_OPEN, 1, 1)
    assert publisher.reconcile() == (0, 0, 0)


@pytest.mark.slow
def test_a_store_or_a_history_that_is_ahead_of_the_control_item_is_caught_up_with(publisher):
    publisher.become(a=1, b=2)
    publisher.push()
    publisher.damage("a", visits=to_binary(b"late"), **{"visits#s": {"N": "900"}})
    publisher.become(a=3, b=2)

    with pytest.raises(StoreAhead, match="the next push writes these rows; push again"):
        publisher.push()
    done = publisher.push()

    # What was refused, and all else: the lease that the raised sequence stands for is not the one that was declared.
    assert (done.sequence, done.why, done.pushed) == (901, HISTORY_LOST, 2)
    assert publisher.reconcile() == (0, 0, 0)

    publisher.lose(control_key("visits"))  # the clock of the next one is behind the history
    publisher.become(a=4, b=2)
    with pytest.raises(StoreAhead, match="later sequences than the clock"):
        publisher.push()
    assert publisher.push().how == SNAPSHOT
    assert publisher.reconcile() == (0, 0, 0)


def test_a_snapshot_writes_only_what_differs(publisher):
    publisher.become(a=1, b=2)
    first = publisher.push()
    renamed = replace(VISITS, online_when="views < 100 and not hidden")
    publisher.become(a=1, b=3)

    done = publisher.push(renamed)

    assert (done.how, done.why) == (SNAPSHOT, NEW_FEATURES)
    assert (done.net, done.suppressed, done.pushed) == (2, 1, 1)
    assert publisher.sequences()["a"] == first.sequence


@pytest.mark.slow
def test_the_ledger_has_what_was_done_and_what_failed(publisher):
    publisher.become(a=1, b=2, c=-3)
    other = replace(VISITS, name="never_refreshed")
    publisher.lake.create(other.table)

    with pytest.raises(Exception, match="never_refreshed has no refresh state"):
        push_views(publisher.lake, publisher.address, [VISITS, other], allowed="first run")
    publisher.become(a=1, b=3)
    push_views(publisher.lake, publisher.address, [VISITS])
    push_views(publisher.lake, publisher.address, [VISITS])

    nothing, newest, oldest = history.read_runs(publisher.lake, last=5)
    assert (oldest["allowed"], newest["allowed"]) == ("first run", None)
    assert "has no refresh state" in oldest["views"]["never_refreshed"]["failure"]
    of_view = newest["views"]["visits"]
    assert of_view["as_of"] == AS_OF
    assert newest["started_at"] < of_view["confirmed_at"]
    assert oldest["views"]["never_refreshed"]["confirmed_at"] is None
    assert (of_view["change_rows"], of_view["net"]) == (3, 2)
    assert of_view["net"] == sum(of_view[name] for name in ("pushed", "removed", "suppressed", "stale"))
    assert [run["run"] for run in history.read_runs(publisher.lake, last=1)] == [nothing["run"]]
    assert nothing["views"]["visits"]["how"] == NOTHING_NEW
    assert (
        newest["views"]["visits"]["confirmed_at"] < nothing["started_at"] < nothing["views"]["visits"]["confirmed_at"]
    )
    assert 0 < of_view["write_seconds"] < of_view["seconds"]
    assert of_view["rows_per_second"] == round(of_view["pushed"] / of_view["write_seconds"])


@pytest.mark.slow
def test_a_large_change_is_stopped_before_anything_is_recorded_and_items_of_others_keep_what_they_have(
    publisher, monkeypatch, as_new_items
):
    monkeypatch.setattr("sinks.net_changes.SMALLEST_VIEW", 2)
    publisher.with_client(ensure_table)
    publisher.damage("b", profile=to_binary(b"theirs"))
    publisher.become(a=1, b=2)
    first = publisher.push()
    assert (first.how, first.pushed) == (FIRST_LOAD, 2)
    publisher.become(a=5, b=6)

    with pytest.raises(BreakerOpen, match="2 of 2 online rows would change"):
        publisher.push()

    assert set(publisher.sequences().values()) == {first.sequence}
    assert len(publisher.history()) == 3
    assert publisher.push(allowed=True).pushed == 2
    assert as_new_items == [False, False]  # the table had an item
    assert publisher.reconcile() == (0, 0, 0)
    assert publisher.attributes("b") == {"visits", "visits#s", "profile"}
