"""Reconciliation on a system that goes on, and repair."""

from dataclasses import replace

import pytest

from sinks import reconcile
from sinks.protocol import PushFirst
from sinks.push import repair_keys
from tailrace.store.dynamodb.calls import to_binary
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.lease import PushUnderWay, leased
from tests.sinks.publisher import VISITS


def test_planted_differences_are_found_and_repaired(publisher):
    publisher.become(**{f"d{number}": number for number in range(1, 8)})
    publisher.push()
    publisher.lose("document|2:d1")
    publisher.damage("d2", visits=to_binary(b""), **{"visits#s": {"N": "1"}})  # a tombstone
    publisher.damage("d3", visits=to_binary(b"other"), **{"visits#s": {"N": "1"}})
    publisher.damage("ghost", visits=to_binary(b"what"), **{"visits#s": {"N": "1"}}, profile=to_binary(b"theirs"))

    assert publisher.reconcile() == (2, 1, 1)
    done = publisher.repair()

    assert (done.missing, done.ghost, done.different, done.repaired) == (2, 1, 1, 4)
    assert publisher.reconcile() == (0, 0, 0)
    assert publisher.history()[-5:] == [
        *((publisher.sequences()["d1"], key, "") for key in ("d1", "d2", "d3")),
        (publisher.sequences()["d1"], "ghost", "gone"),
        (publisher.sequences()["d1"], "confirmed", ""),
    ]


@pytest.mark.slow
def test_a_repair_takes_the_lease_for_so_many_keys_at_a_time_and_waits_for_a_push_of_another_definition(
    publisher, monkeypatch
):
    monkeypatch.setattr("sinks.reconcile.KEYS_PER_LEASE", 2)
    publisher.become(a=1, b=2, c=3)
    pushed = publisher.push()
    for name in ("a", "b", "c"):
        publisher.lose(f"document|1:{name}")

    done = publisher.repair()

    assert (done.missing, done.repaired) == (3, 3)
    # One sequence for the push that goes first, then one per lease.
    assert sorted(sequence - pushed.sequence for sequence in publisher.sequences().values()) == [2, 2, 3]

    keys = publisher.lake.spark.createDataFrame([("document|1:a",)], "item_key string")
    redefined = replace(VISITS, online_when="views > 0")
    with pytest.raises(PushFirst, match="its definition is not what it was at the cursor"):
        repair_keys(publisher.lake, publisher.address, redefined, keys)


@pytest.mark.slow
def test_a_reconciliation_counts_nothing_that_a_push_changed_meanwhile_and_waits_for_one_that_is_open(
    publisher, monkeypatch
):
    publisher.become(a=1, b=2)
    publisher.push()
    real, pushes = reconcile.gold_at, iter([{"a": 5, "b": 2}, {"a": 6}])

    def after_a_push(lake, view, cursor):
        if rows := next(pushes, None):
            publisher.become(**rows)
            publisher.push()
        return real(lake, view, cursor)

    monkeypatch.setattr(reconcile, "gold_at", after_a_push)
    assert publisher.reconcile() == (0, 0, 0)
    assert next(pushes, None) is None

    monkeypatch.setattr("sinks.reconcile.LOOKS", 2)
    publisher.lose("document|1:a")
    with leased(publisher.address, "visits", seconds=30) as taken:
        sequence, owner = taken.sequence, taken.lease_owner
        publisher.with_client(lambda client: DynamoStore(client).declare_push("visits", sequence=sequence, owner=owner))

        with pytest.raises(PushUnderWay, match="run `tailrace run publish`, then reconcile again"):
            publisher.reconcile()
