"""The header `Idempotency-Key`."""

import pytest

from serving.write import idempotency
from tests.serving.write.conftest import NINE, of

TEN = "2026-03-01T10:00:00Z"
KEY = {"Idempotency-Key": "k1"}


def test_a_write_that_is_sent_again_is_answered_as_before_and_not_written(writes):
    first = writes.send(of("d1", None, score=0.25), headers=KEY)
    writes.send(of("d1", None, score=0.75))
    again = writes.send(of("d1", None, score=0.25), headers=KEY)

    assert again == first
    assert writes.read("d1") == [0.75]


def test_a_refusal_is_remembered_as_well(writes):
    writes.send(of("d1", TEN))
    first = writes.send(of("d1", NINE), of("d2"), headers=KEY)
    again = writes.send(of("d1", NINE), of("d2"), headers=KEY)

    assert again == first
    assert [one["status"] for one in again[1]["results"]] == ["STALE", "WRITTEN"]


def test_a_write_whose_outcome_was_not_kept_is_written_under_the_orders_that_it_had(writes, monkeypatch):
    async def lose(*_):
        pass

    with monkeypatch.context() as while_it_fails:
        while_it_fails.setattr(idempotency.Once, "_keep", lose)
        writes.send(of("d1", None, score=0.25), headers=KEY)
    writes.send(of("d1", None, score=0.75))
    status, answer = writes.send(of("d1", None, score=0.25), headers=KEY)

    assert (status, answer["results"][0]["status"]) == (409, "STALE")
    assert writes.read("d1") == [0.75]


def test_a_key_with_another_body_is_refused(writes):
    writes.send(of("d1"), headers=KEY)
    status, answer = writes.send(of("d2"), headers=KEY)

    assert (status, "another body" in answer["detail"]) == (422, True)
    assert writes.read("d2") == [None]


def test_a_key_counts_for_a_day(writes, monkeypatch):
    monkeypatch.setattr(idempotency, "KEPT_SECONDS", -1)
    writes.send(of("d1", score=0.25), headers=KEY)
    writes.send(of("d1", score=0.75))
    writes.send(of("d1", score=0.25), headers=KEY)

    assert writes.read("d1") == [0.25]


@pytest.mark.parametrize("key", ["", "x" * 256, "\u00e9"])
def test_a_key_that_is_none_is_refused(writes, key):
    status, answer = writes.send(of("d1"), headers={"Idempotency-Key": key})

    assert (status, "Idempotency-Key" in answer["detail"]) == (400, True)
