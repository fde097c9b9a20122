"""Tombstones are removed when nothing can need them any more, and nothing else is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sinks import purge
from sinks.purge import purge_tombstones
from tailrace.store.dynamodb.calls import KEY, to_binary
from tests.sinks.publisher import VISITS

LATER = timedelta(days=1, minutes=1)


def swept(publisher, *, after=LATER):
    return purge_tombstones(publisher.lake, publisher.address, VISITS, now=datetime.now(UTC) + after)


@pytest.fixture
def removed(publisher):
    """Two documents are tombstones, one is not."""
    publisher.become(a=1, b=2, c=3)
    publisher.push()
    publisher.become(c=3)
    publisher.push()
    return publisher


@pytest.mark.slow
def test_old_tombstones_go_and_values_stay(removed, monkeypatch):
    monkeypatch.setattr(purge, "PART", 1)

    assert swept(removed) == 2

    assert set(removed.sequences()) == {"c"}
    assert removed.reconcile() == (0, 0, 0)
    assert swept(removed) == 0


@pytest.mark.slow
def test_ten_lease_times_may_be_longer_than_a_day(removed):
    assert swept(removed, after=timedelta(hours=23)) == 0
    assert set(removed.sequences()) == {"a", "b", "c"}
    removed.address = replace(removed.address, lease_seconds=10_000)

    assert swept(removed) == 0
    assert swept(removed, after=timedelta(seconds=100_100)) == 2


@pytest.mark.slow
def test_a_key_that_came_back_and_what_other_views_have_of_an_item_are_left_alone(removed):
    removed.become(a=7, c=3)
    removed.push()
    tombstone = {"visits": to_binary(b""), "visits#s": {"N": str(removed.sequences()["b"])}}
    removed.damage("b", **tombstone, profile=to_binary(b"theirs"), **{"profile#s": {"N": "9"}})

    assert swept(removed) == 1

    assert set(removed.sequences()) == {"a", "c"}
    assert removed.reconcile() == (0, 0, 0)
    key = {KEY: {"S": "document|1:b"}}
    item = removed.with_client(lambda c: c.call("GetItem", {"TableName": c.table, "Key": key}))["Item"]
    assert item == key | {"profile": to_binary(b"theirs"), "profile#s": {"N": "9"}}


def test_a_view_that_was_never_pushed_has_nothing_to_sweep(publisher):
    publisher.become(a=1)

    assert swept(publisher) == 0
