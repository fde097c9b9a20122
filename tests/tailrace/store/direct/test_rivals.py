"""Of values of one key that come together only the newest is sent: what becomes of the others is as if all were."""

from hypothesis import assume, given
from hypothesis import strategies as st

from tailrace.store.direct.sender import Overwritten, Unknown, by_row, rivals_of
from tailrace.store.failures import StoreError
from tailrace.store.order import Order, OrderedValue
from tailrace.store.port import Refused, Stale

ORDERS = st.builds(Order, st.integers(0, 3), st.integers(0, 3))


def row(key, order):
    return OrderedValue(view="relevance", item_key=key, value=b"x", order=order, sequence=1)


@given(st.lists(st.tuples(st.sampled_from("ab"), ORDERS), max_size=8), st.dictionaries(st.sampled_from("ab"), ORDERS))
def test_what_becomes_of_rivals_is_what_would_have_become_of_them_one_by_one(values, before):
    rows = [row(key, order) for key, order in values]
    one_by_one, reached = [], dict(before)
    for each in rows:
        is_stale = each.item_key in reached and each.order < reached[each.item_key]
        one_by_one.append(Stale(reached[each.item_key]) if is_stale else None)
        reached[each.item_key] = max(each.order, reached.get(each.item_key, each.order))

    rivals, store = rivals_of(rows), dict(before)
    for own in rivals:
        stored = store.get(own.key[0])
        assume(stored != own.newest.order)  # then it is a repetition
        if stored is not None and own.newest.order < stored:
            own.settle(Stale(stored))
        else:
            own.before, store[own.key[0]] = stored, own.newest.order
            own.settle(None)

    assert store == reached
    assert [type(one) is Stale for one in by_row(rows, rivals)] == [type(one) is Stale for one in one_by_one]


def test_what_the_store_refuses_leaves_its_place_to_the_next_newest():
    rows = [row("a", Order(1, 1)), row("a", Order(3, 2)), row("a", Order(2, 3))]
    [own] = rivals_of(rows)

    own.settle(Refused("too large"))
    before = own.is_settled, own.newest
    own.settle(None)

    assert before == (False, rows[2])
    assert own.is_settled
    assert [type(one) for one in own.results()] == [Overwritten, Refused, type(None)]


def test_what_is_not_known_of_the_newest_is_known_of_none():
    [own] = rivals_of([row("a", Order(1, 1)), row("a", Order(2, 2))])

    own.settle(Unknown(StoreError("Unreachable", "")))

    assert [type(one) for one in own.results()] == [Unknown, Unknown]


def test_a_newest_that_an_earlier_try_had_written_already_does_not_make_the_others_stale():
    """Its answer was lost: the store has the order of the newest itself."""
    [own] = rivals_of([row("a", Order(1, 1)), row("a", Order(2, 2))])

    own.before = Order(2, 2)
    own.settle(None)

    assert [type(one) for one in own.results()] == [Overwritten, type(None)]
