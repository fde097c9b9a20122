"""Rows of a first load, written as whole items: by which requests, and what happens where an item is there after all."""

from collections import Counter

import pytest

from tailrace.store.dynamodb.calls import to_binary
from tailrace.store.writer import Outcome
from tests.sinks.leased import rows, run_with_table, stored, written

THEIRS = {"profile": to_binary(b"theirs"), "profile#s": {"N": "9"}}


@pytest.fixture
def with_table(writer_url, writes):
    return lambda action: run_with_table(writer_url, action, writes, new_items=True)


def kinds(asked):
    """How many writes of each kind were sent, those in transactions included."""
    found: Counter[str] = Counter()
    for operation, body in asked:
        actions = body.get("TransactItems")
        found.update(kind for action in actions for kind in action) if actions else found.update([operation])
    return {name.removesuffix("Item"): count for name, count in found.items()}


def test_new_items_are_put_whole_and_never_over_others(with_table):
    async def action(table):
        return await table.write_through(None, rows(120)), await table.items()

    (outcome, asked), items = with_table(action)

    assert outcome == Outcome(written=120)
    assert items == stored(rows(120))
    assert kinds(asked)["Put"] == 120
    assert "Update" not in kinds(asked)
    puts = [action["Put"] for _, body in asked for action in body.get("TransactItems", ()) if "Put" in action]
    puts += [body for operation, body in asked if operation == "PutItem"]
    assert {put["ConditionExpression"] for put in puts} == {"attribute_not_exists(pk)"}


def test_an_item_that_is_there_after_all_keeps_what_others_wrote(with_table, writes):
    async def action(table):
        await table.put("document|0007", **THEIRS)
        return await table.write_through(None, rows(120)), await table.items()

    (outcome, asked), items = with_table(action)

    assert outcome == Outcome(written=120)
    assert items == stored(rows(120)) | {"document|0007": THEIRS | stored(rows(120))["document|0007"]}
    assert kinds(asked)["Put"] == 120
    assert kinds(asked)["Update"] == (99 if writes == "transactions" else 1)


def test_an_item_that_is_there_and_newer_is_stale(with_table):
    async def action(table):
        await table.put("k1", **written(b"newer", sequence=6))
        return await table.write([("k1", b"mine"), ("k2", b"mine")]), await table.items()

    outcome, items = with_table(action)

    assert outcome == Outcome(written=1, stale=1)
    assert items == {"k1": written(b"newer", sequence=6), "k2": written(b"mine")}
