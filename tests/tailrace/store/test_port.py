"""What every store has to do: one suite, against a real store over HTTP and against the one in memory."""

import asyncio
from functools import partial

import pytest

from tailrace.definitions import BATCH, DIRECT, STREAM
from tailrace.schemas.tables import Column, Type
from tailrace.store.control import NO_LANE, Cursor, LeaseLost, OtherLane
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.memory import MemoryStore
from tailrace.store.order import Order, OrderedValue
from tailrace.store.port import OrderedOutcome, Remembered, Stale, Store

VIEW = "visits"
STORES: tuple[type[Store], ...] = (DynamoStore, MemoryStore)  # typed, so that mypy sees what one of them lacks
FEATURES = (Column("views", Type.INT64, ""),)
OTHER_FEATURES = (*FEATURES, Column("owner", Type.STRING, ""))
CURSOR = Cursor(table_id="7f3a", version=12, fingerprint="bc2bee73e2fd2b86", commit="c1")


@pytest.fixture(params=STORES, ids=lambda kind: kind.__name__)
def run(request):
    """Run a story with a store that is empty."""
    if request.param is MemoryStore:
        return lambda story: asyncio.run(story(MemoryStore()))
    table = request.getfixturevalue("store")
    return lambda story: table.run(lambda client: story(DynamoStore(client)))


async def lease(store, *, owner="ada", now=1_000.0, **options):
    taken = await store.take_lease(
        VIEW, owner=owner, seconds=60, lane=options.pop("lane", BATCH), clock=lambda: now, **options
    )
    assert taken is not None
    return taken.sequence


async def control(store):
    return (await store.read_controls([VIEW])).get(VIEW)


async def values(store):
    return {key: value async for page in store.scan_values(VIEW) for key, value in page.items()}


async def sequences(store):
    return {key: sequence async for page in store.scan_sequences(VIEW) for key, sequence in page.items()}


def ordered(value, occurred_at, *, key="d|1:a", revision=1, sequence=1):
    return OrderedValue(view=VIEW, item_key=key, value=value, order=Order(occurred_at, revision), sequence=sequence)


def test_values_are_read_by_key_and_one_that_is_not_there_is_left_out(run):
    async def story(store):
        await store.write_fenced(VIEW, "a", b"one", sequence=1)
        await store.write_fenced(VIEW, "b", b"", sequence=1)
        await store.write_fenced("other", "c", b"theirs", sequence=1)
        return await store.read_values(VIEW, ["a", "b", "c", "d"])

    assert run(story) == {"a": b"one", "b": b""}


@pytest.mark.parametrize("segments", [1, 3])
def test_the_segments_of_a_scan_have_every_value_once(run, segments):
    keys = {f"k{number:03}": number for number in range(120)}

    async def story(store):
        for key, number in keys.items():
            await store.write_fenced(VIEW, key, b"v", sequence=number)
        found = []
        for segment in range(segments):
            async for page in store.scan_sequences(VIEW, segment=segment, segments=segments):
                found += page.items()
        return found, await values(store)

    found, scanned = run(story)
    assert (sorted(found), scanned.keys()) == (sorted(keys.items()), keys.keys())


def test_a_value_is_written_unless_a_later_sequence_has_written_one(run):
    async def story(store):
        written = [
            await store.write_fenced(VIEW, "a", value, sequence=sequence)
            for value, sequence in ((b"one", 5), (b"again", 5), (b"late", 4), (b"two", 6))
        ]
        return written, await values(store), await sequences(store)

    assert run(story) == ([True, True, False, True], {"a": b"two"}, {"a": 6})


def test_a_new_item_is_not_written_over_one_that_is_there_after_all(run):
    async def story(store):
        await store.write_fenced("other", "a", b"theirs", sequence=9)
        written = [await store.write_fenced(VIEW, key, b"mine", sequence=5, as_new=True) for key in ("a", "b")]
        return written, await values(store), await store.read_values("other", ["a"])

    assert run(story) == ([False, True], {"b": b"mine"}, {"a": b"theirs"})


def test_values_written_together_are_written_all_or_none(run):
    async def story(store):
        sequence = await lease(store)
        await store.write_fenced(VIEW, "b", b"newer", sequence=sequence + 1)
        late = await store.write_together(VIEW, [("a", b"1"), ("b", b"2"), ("c", b"3")], sequence=sequence)
        before = await values(store)
        return late, before, await store.write_together(VIEW, [("a", b"1"), ("c", b"3")], sequence=sequence)

    assert run(story) == ({1: Stale()}, {"b": b"newer"}, {})


def test_new_items_written_together_are_not_written_where_one_is_there_after_all(run):
    async def story(store):
        sequence = await lease(store)
        await store.write_fenced("other", "b", b"theirs", sequence=9)
        rows = [("a", b"1"), ("b", b"2")]
        late = await store.write_together(VIEW, rows, sequence=sequence, as_new=True)
        return late, await values(store), await store.write_together(VIEW, rows[:1], sequence=sequence, as_new=True)

    assert run(story) == ({1: Stale()}, {}, {})


def test_values_of_a_push_that_lost_its_lease_are_refused_together(run):
    async def story(store):
        sequence = await lease(store)
        await lease(store, owner="bob", now=2_000.0)
        with pytest.raises(LeaseLost, match=VIEW):
            await store.write_together(VIEW, [("a", b"1")], sequence=sequence)
        return await values(store)

    assert run(story) == {}


def test_the_latest_event_time_stands_and_the_revision_decides_between_equal_ones(run):
    async def story(store):
        rows = (ordered(b"noon", 12, revision=7), ordered(b"morning", 9, revision=8), ordered(b"first", 12, revision=6),
                ordered(b"once more", 12, revision=7), ordered(b"second", 12, revision=9))  # fmt: skip
        return [await store.write_ordered([row]) for row in rows], await values(store)

    assert run(story) == (
        [
            OrderedOutcome({}, None),
            OrderedOutcome({0: Stale(Order(12, 7))}),
            OrderedOutcome({0: Stale(Order(12, 7))}),
            OrderedOutcome({}, Order(12, 7)),
            OrderedOutcome({}, Order(12, 7)),
        ],
        {"d|1:a": b"second"},
    )


def test_ordered_values_are_written_all_or_none_and_each_that_is_late_names_what_is_there(run):
    async def story(store):
        await store.write_ordered([ordered(b"later", 12, key="b")])
        outcome = await store.write_ordered([ordered(b"one", 9, key="a"), ordered(b"two", 9, key="b")])
        return (
            outcome,
            await values(store),
            await store.write_ordered([ordered(b"a", 9, key="a"), ordered(b"c", 9, key="c")]),
        )

    late = OrderedOutcome({1: Stale(Order(12, 1))})
    assert run(story) == (late, {"b": b"later"}, OrderedOutcome({}))


def test_a_later_owner_of_the_view_wins_whatever_the_event_time(run):
    async def story(store):
        rows = (
            ordered(b"late", 99, sequence=1),
            ordered(b"new owner's", 5, sequence=2),
            ordered(b"old", 100, sequence=1),
        )
        return [await store.write_ordered([row]) for row in rows], await values(store)

    outcomes = [OrderedOutcome({}, None), OrderedOutcome({}, None), OrderedOutcome({0: Stale(None)})]
    assert run(story) == (outcomes, {"d|1:a": b"new owner's"})


def test_the_reader_gets_values_in_the_order_of_its_keys_and_no_item_for_keys_without_one(run):
    async def story(store):
        await store.write_fenced(VIEW, "a", b"one", sequence=1)
        await store.write_fenced("other", "b", b"theirs", sequence=1)
        turns = []

        async def turn():
            turns.append("taken")

        items, unprocessed = await store.send_read(store.prepare_read((VIEW, "more"), ["a", "b", "c"]), turn=turn)
        read = [store.values_in(items, keys, VIEW) for keys in (["a"], ["c", "a", "b"])]
        return [values for values, _ in read], list(read[1][1]), "c" in items, unprocessed, turns

    assert run(story) == ([[b"one"], [b"one"]], [False, True, False], False, [], ["taken"])


def test_items_are_counted_and_found_and_a_control_item_is_none(run):
    async def story(store):
        await store.ensure_ready()
        await lease(store)
        before = await store.has_items()
        await store.write_fenced(VIEW, "a", b"one", sequence=1)
        return before, await store.has_items(), isinstance(await store.item_count(), int), store.requests >= 0

    assert run(story) == (False, True, True, True)


def test_a_scan_finds_the_views_with_a_control_item_and_the_once_only_keys(run):
    async def story(store):
        await lease(store)
        await store.write_fenced(VIEW, "a", b"one", sequence=1)
        await store.claim_once("k", digest="d", orders="[]", expires=200, now=100)
        pages = [page async for page in store.scan_records()]
        return [view for views, _ in pages for view in views], [key for _, keys in pages for key in keys]

    assert run(story) == ([VIEW], ["k"])


def test_only_values_below_a_sequence_are_removed(run):
    async def story(store):
        await store.write_fenced(VIEW, "a", b"old", sequence=4)
        await store.write_fenced(VIEW, "b", b"new", sequence=5)
        return [await store.remove_below(VIEW, key, below=5) for key in ("a", "b", "c", "a")], await values(store)

    assert run(story) == ([True, False, False, False], {"b": b"new"})


def test_a_tombstone_is_purged_unless_something_else_has_taken_its_place(run):
    async def story(store):
        for key, value, sequence in (("gone", b"", 4), ("later", b"", 5), ("back", b"value", 4)):
            await store.write_fenced(VIEW, key, value, sequence=sequence)
        purged = [await store.purge_tombstone(VIEW, key, sequence=4) for key in ("gone", "later", "back", "none")]
        return purged, await values(store)

    assert run(story) == ([True, False, False, False], {"later": b"", "back": b"value"})


def test_a_lease_is_refused_while_another_holds_it_and_each_raises_the_sequence(run):
    async def story(store):
        first = await lease(store, owner="ada", now=1_000.0)
        refused = await store.take_lease(VIEW, owner="bob", seconds=60, lane=BATCH, clock=lambda: 1_059.0)
        again = await lease(store, owner="ada", now=1_059.0)
        after = await lease(store, owner="bob", now=1_200.0)
        return refused, again - first, after - first, await store.read_sequence(VIEW) - after

    assert run(story) == (None, 1, 2, 0)


def test_a_view_that_was_never_pushed_has_no_control_item(run):
    async def story(store):
        return await store.read_controls([VIEW]), await store.read_sequence(VIEW)

    assert run(story) == ({}, None)


def test_another_lanes_view_gives_no_lease(run):
    async def story(store):
        await lease(store, now=1_000.0)
        return await store.take_lease(VIEW, owner="bob", seconds=60, lane=STREAM, clock=lambda: 9_000.0)

    assert run(story) is None


def test_a_push_is_declared_and_closed_under_its_lease(run):
    async def story(store):
        sequence = await lease(store)
        await store.declare_push(VIEW, sequence=sequence, owner="ada")
        declared = await control(store)
        await store.close_push(VIEW, sequence=sequence, cursor=CURSOR, watermark=7, features=FEATURES, owner="ada")
        closed = await control(store)
        assert (declared.declared, closed.closed) == (sequence, sequence)
        return (declared.open, declared.declared_by), (closed.open, closed.cursor, closed.watermark, closed.features)

    assert run(story) == ((True, "ada"), (False, CURSOR, 7, FEATURES))


@pytest.mark.parametrize("late", ["renew", "declare", "raise", "close"])
def test_what_comes_after_another_took_over_changes_nothing(run, late):
    async def story(store):
        sequence = await lease(store)
        await lease(store, owner="bob", now=2_000.0)
        before = await control(store)
        late_calls = {
            "renew": partial(store.renew_lease, VIEW, sequence=sequence, seconds=60, clock=lambda: 2_000.0),
            "declare": partial(store.declare_push, VIEW, sequence=sequence, owner="ada"),
            "raise": partial(store.raise_sequence, VIEW, sequence=sequence, to=sequence + 9),
            "close": partial(store.close_push, VIEW, sequence=sequence, cursor=CURSOR, watermark=7, features=FEATURES),
        }
        with pytest.raises(LeaseLost, match=VIEW):
            await late_calls[late]()
        return before == await control(store)

    assert run(story)


def test_a_push_that_has_ended_is_neither_renewed_nor_declared_again(run):
    async def story(store):
        sequence = await lease(store)
        await store.close_push(VIEW, sequence=sequence, cursor=None, watermark=7, features=FEATURES)
        with pytest.raises(LeaseLost):
            await store.renew_lease(VIEW, sequence=sequence, seconds=60)
        with pytest.raises(LeaseLost):
            await store.declare_push(VIEW, sequence=sequence, owner="ada")

    run(story)


def test_a_renewed_lease_holds_on_and_one_that_is_given_up_is_free_with_its_open_mark(run):
    async def story(store):
        sequence = await lease(store)
        await store.declare_push(VIEW, sequence=sequence, owner="ada", known=False)
        await store.renew_lease(VIEW, sequence=sequence, seconds=60, clock=lambda: 1_050.0)
        refused = await store.take_lease(VIEW, owner="bob", seconds=60, lane=BATCH, clock=lambda: 1_100.0)
        await store.renew_lease(VIEW, sequence=sequence, seconds=0)
        await lease(store, owner="bob", now=1_100.0)
        found = await control(store)
        return refused, found.open, found.declared, found.lease_owner

    assert run(story) == (None, True, None, "bob")


def test_a_raised_sequence_is_below_the_next_pushs_and_a_dropped_cursor_is_gone(run):
    async def story(store):
        sequence = await lease(store)
        await store.close_push(VIEW, sequence=sequence, cursor=CURSOR, watermark=7, features=FEATURES)
        sequence = await lease(store, now=2_000.0)
        await store.raise_sequence(VIEW, sequence=sequence, to=sequence + 9, owner="ada")
        await store.mark_purged(VIEW, sequence=3)
        after = await lease(store, now=2_000.0, keep_cursor=False)
        found = await control(store)
        return after - sequence, found.cursor, found.watermark, found.swept

    assert run(story) == (10, None, 7, 3)


def test_a_view_changes_hands_once_and_forgets_what_was_pushed(run):
    async def story(store):
        sequence = await lease(store)
        await store.close_push(VIEW, sequence=sequence, cursor=CURSOR, watermark=7, features=FEATURES)
        found = await control(store)
        given = [await store.give_to_lane(VIEW, DIRECT, found=found) for _ in range(2)]
        after = await control(store)
        return given, after.lane, after.owned_from - sequence, after.sequence - sequence, after.cursor, after.watermark

    assert run(story) == ([True, False], DIRECT, 1, 1, None, None)


def test_the_control_item_of_a_view_without_a_lane_goes_unless_it_changed(run):
    async def story(store):
        await lease(store)
        owned = await store.remove_control(VIEW, sequence=(await control(store)).sequence)
        await store.give_to_lane(VIEW, NO_LANE, found=await control(store))
        sequence = (await control(store)).sequence
        return (
            owned,
            [await store.remove_control(VIEW, sequence=one) for one in (sequence - 1, sequence)],
            await control(store),
        )

    assert run(story) == (False, [False, True], None)


def test_revisions_are_given_out_once_and_every_schema_is_recorded(run):
    async def story(store):
        first = await store.take_revisions(VIEW, FEATURES, count=3)
        then = await store.take_revisions(VIEW, OTHER_FEATURES, count=2)
        found = await control(store)
        assert first.sequence == then.sequence == found.sequence
        return then.first - first.first, found.lane, found.features, set(found.schemas)

    assert run(story) == (3, DIRECT, FEATURES, {FEATURES, OTHER_FEATURES})


def test_another_lanes_view_gives_no_revisions(run):
    async def story(store):
        await lease(store)
        with pytest.raises(OtherLane, match=VIEW):
            await store.take_revisions(VIEW, FEATURES, count=1)

    run(story)


def test_the_watermark_of_a_direct_view_never_goes_back(run):
    async def story(store):
        await store.move_direct_watermark(VIEW, to=1)
        await store.take_revisions(VIEW, FEATURES, count=1)
        moved = []
        for to in (5, 3, 8):
            await store.move_direct_watermark(VIEW, to=to)
            moved.append((await control(store)).watermark)
        return moved

    assert run(story) == [5, 5, 8]


def test_the_watermark_of_an_idle_stream_is_its_own_to_move(run):
    async def story(store):
        early = await store.move_stream_watermark(VIEW, owner="stream a", to=1)
        sequence = await lease(store, owner=f"stream a {VIEW}", lane=STREAM)
        running = await store.move_stream_watermark(VIEW, owner="stream a", to=1)
        await store.close_push(VIEW, sequence=sequence, cursor=None, watermark=5, features=FEATURES)
        moved = [await store.move_stream_watermark(VIEW, owner=owner, to=to)
                 for owner, to in (("stream a", 9), ("stream a", 7), ("stream b", 12))]  # fmt: skip
        return early, running, moved, (await control(store)).watermark

    assert run(story) == (False, False, [True, False, False], 9)


def test_a_once_only_key_is_claimed_once_and_keeps_its_first_results_until_its_time_is_over(run):
    async def story(store):
        claim = {"digest": "d", "orders": "[]", "expires": 200}
        first = await store.claim_once("k", now=100, **claim)
        await store.keep_results("k", "done")
        await store.keep_results("k", "other")
        again = await store.claim_once("k", now=150, **claim | {"digest": "e"})
        forgotten = [await store.forget_expired("k", at=at) for at in (200, 201, 201)]
        return first, again, forgotten, await store.claim_once("k", now=100, **claim)

    assert run(story) == (None, Remembered(digest="d", orders="[]", results="done"), [False, True, False], None)


def test_a_once_only_key_whose_time_is_over_is_taken_anew(run):
    async def story(store):
        claims = [await store.claim_once("k", digest=digest, orders="[]", expires=expires, now=now)
                  for digest, expires, now in (("d", 200, 100), ("e", 400, 201), ("f", 500, 300))]  # fmt: skip
        return [claim and claim.digest for claim in claims]

    assert run(story) == [None, None, "e"]
