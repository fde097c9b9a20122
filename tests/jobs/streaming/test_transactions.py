"""Up to when a topic can be read whose producers have transactions."""

import pytest

from jobs.bronze.topic import Ends
from jobs.streaming.source import Readable


def ends(*partitions):
    return {number: Ends(first=0, end=end, appended=appended) for number, (end, appended) in enumerate(partitions)}


@pytest.fixture
def readable():
    readable = Readable()
    readable.look(ends((5, 5), (2, 2)), at=10.0)
    return readable


def test_without_an_open_transaction_nothing_has_to_wait(readable):
    readable.look(ends((9, 9), (2, 2)), at=13.0)

    assert (readable.bound, readable.waiting) == (None, 0)


def test_an_open_transaction_leaves_all_readable_that_was_appended_before_the_look_without_it(readable):
    for at in (13.0, 16.0, 19.0):
        readable.look(ends((5, 9), (2 + int(at), 2 + int(at))), at=at)

    assert (readable.bound, readable.waiting) == (10.0, 4)
    readable.look(ends((10, 10), (40, 40)), at=22.0)
    assert (readable.bound, readable.waiting) == (None, 0)


def test_transactions_one_after_another_hold_nothing_back_for_longer_than_two_looks(readable):
    readable.look(ends((5, 9), (2, 2)), at=13.0)
    readable.look(ends((9, 12), (2, 4)), at=16.0)
    assert readable.bound == 13.0
    readable.look(ends((12, 20), (3, 8)), at=19.0)  # the second partition has not come so far yet
    assert readable.bound == 13.0
    readable.look(ends((20, 21), (8, 8)), at=22.0)
    assert readable.bound == 16.0


def test_where_a_transaction_was_open_before_the_first_look_nothing_is_known_to_be_readable():
    readable = Readable()
    readable.look(ends((5, 9)), at=10.0)

    assert readable.bound == 0.0
