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


@pytest.mark.slow
def test_tombstones_go_once_ten_lease_times_are_over_and_nothing_else_does(publisher, monkeypatch):
    publisher.become(a=1, b=2, c=3)
    publisher.push()
    publisher.become(c=3)
    publisher.push()
    assert swept(publisher, after=timedelta(hours=23)) == 0
    assert set(publisher.sequences()) == {"a", "b", "c"}
    leases = publisher.address.lease_seconds
    publisher.address = replace(publisher.address, lease_seconds=10_000)  # ten of them are longer than a day
    assert swept(publisher) == 0
    publisher.address = replace(publisher.address, lease_seconds=leases)

    # A key that came back, and what other views have of an item, are left alone.
    publisher.become(a=7, c=3)
    publisher.push()
    tombstone = {"visits": to_binary(b""), "visits#s": {"N": str(publisher.sequences()["b"])}}
    publisher.damage("b", **tombstone, profile=to_binary(b"theirs"), **{"profile#s": {"N": "9"}})
    assert swept(publisher) == 1
    assert set(publisher.sequences()) == {"a", "c"}
    key = {KEY: {"S": "document|1:b"}}
    item = publisher.with_client(lambda c: c.call("GetItem", {"TableName": c.table, "Key": key}))["Item"]
    assert item == key | {"profile": to_binary(b"theirs"), "profile#s": {"N": "9"}}

    publisher.become(d=1)
    publisher.push()
    monkeypatch.setattr(purge, "PART", 1)
    publisher.address = replace(publisher.address, lease_seconds=10_000)
    assert swept(publisher, after=timedelta(seconds=100_100)) == 2
    assert set(publisher.sequences()) == {"d"}
    assert publisher.reconcile() == (0, 0, 0)
    assert swept(publisher, after=timedelta(seconds=100_100)) == 0


def test_a_view_that_was_never_pushed_has_nothing_to_sweep(publisher):
    publisher.become(a=1)

    assert swept(publisher) == 0
