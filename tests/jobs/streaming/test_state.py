"""Folded state tells what counting all events again tells, however these are ordered, doubled and split."""

from datetime import timedelta
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.streaming import window_state as states
from jobs.streaming.window_state import Events, StateChanges, horizon_of, take_pairs
from tailrace.definitions import STREAM, Count, Distinct, Last, StreamView
from tailrace.definitions.stream_view import MICROS_PER_MINUTE, FinestView, rings_of
from tailrace.shipped.entities import ACTOR, DOCUMENT

ABOUT: dict[str, Any] = {"owner": "ada", "description": "Tested.", "freshness": timedelta(seconds=10), "lane": STREAM}
PAIRS = FinestView(
    name="pairs",
    entities=(ACTOR, DOCUMENT),
    aggregations=(
        Count(name="opens", types=("open",), over=("15m", "1h")),
        Last(name="last_opened_at", types=("open",)),
    ),
    **ABOUT,
)
DOCUMENTS = StreamView(
    name="documents",
    entities=(DOCUMENT,),
    aggregations=(
        Count(name="events", over=("15m",)),
        Distinct(name="actors", rows_of="pairs", active="events", over=("15m",)),
    ),
    **ABOUT,
)
START = 29_000_000  # minutes since 1970
EVENT = st.tuples(
    st.integers(0, 25),
    st.sampled_from("ab"),
    st.sampled_from("xy"),
    st.integers(0, 90),
    st.sampled_from(["open", "edit"]),
)
BATCHES = st.lists(st.lists(EVENT, max_size=6), max_size=6)


def run(batches, *, doubled=False, cut_off=False):
    """Fold batches as the stream does; a batch that is repeated takes the state that it wrote before.

    One that is cut off had written its pairs, and nothing of its documents.
    """
    pairs = [(actor, document) for actor in "ab" for document in "xy"]
    of_pairs, of_documents = states.empty(PAIRS, 4), states.empty(DOCUMENTS, 2)
    for number, batch in enumerate(batches):
        for is_whole in [not cut_off, True] if doubled or cut_off else [True]:
            events = Events(
                key=np.array([pairs.index((actor, document)) for _, actor, document, _, _ in batch], np.int64),
                id=[f"e{id_}" for id_, *_ in batch],
                type=np.array([type_ for *_, type_ in batch], object),
                at=np.array([(START + minute) * MICROS_PER_MINUTE + 7 for *_, minute, _ in batch], np.int64),
                whole=np.ones(len(batch), bool),
            )
            of_pairs, changes = take_pairs(
                PAIRS, [DOCUMENTS], of_pairs, events, places={"documents": events.key % 2}, run=5, batch=number
            )
            if not is_whole:
                continue
            fresh = ~((of_documents["_run"] == 5) & (of_documents["_batch"] >= number))
            wanted = changes["documents"]
            mine = fresh[wanted.key]
            wanted = StateChanges(
                key=wanted.key[mine], line=wanted.line[mine], minute=wanted.minute[mine], amount=wanted.amount[mine]
            )
            touched = np.zeros(2, bool)
            touched[wanted.key] = True
            of_documents = states.fold_changes(DOCUMENTS, of_documents, wanted)
            of_documents["_run"] = np.where(touched, 5, of_documents["_run"])
            of_documents["_batch"] = np.where(touched, number, of_documents["_batch"])
    return of_pairs, of_documents


def values(view, state, now):
    moment = np.datetime64(now, "m").astype("datetime64[us]")
    return {
        ring.name: ring.value_at(state["_minute"], [state[column.name] for column in ring.columns], moment).tolist()
        for ring in rings_of(view.aggregations)
    }


def first_deliveries(batches):
    """Events that count, and the newest minute of each pair: an id counts once until its pair is `horizon` past it."""
    horizon = horizon_of(PAIRS, [DOCUMENTS])
    known: dict[Any, int] = {}
    last: dict[Any, int] = {}
    rows = []
    for batch in batches:
        for id_, a, d, minute, type_ in batch:
            if (id_, a, d) not in known:
                known[id_, a, d] = minute
                rows.append((a, d, START + minute, type_))
                last[a, d] = max(last.get((a, d), 0), START + minute)
        known = {key: minute for key, minute in known.items() if START + minute > last[key[1:]] - horizon}
    return rows, last


def counted(batches, now):
    """The same by counting all events again."""
    rows, last = first_deliveries(batches)
    pairs = [(actor, document) for actor in "ab" for document in "xy"]

    def within(minute, width, buckets):
        return 0 <= now // width - minute // width < buckets

    opens = [r for r in rows if r[3] == "open"]
    return (
        {
            name: [sum(r[:2] == pair and within(r[2], width, n) for r in opens) for pair in pairs]
            for name, width, n in (("opens_15m", 1, 15), ("opens_1h", 5, 12))
        },
        {
            "events_15m": [sum(r[1] == d and within(r[2], 1, 15) for r in rows) for d in "xy"],
            "actors_15m": [sum(k[1] == d and within(m, 1, 15) for k, m in last.items()) for d in "xy"],
        },
        [max((r[2] for r in opens if r[:2] == pair), default=0) for pair in pairs],
    )


@given(BATCHES, st.integers(85, 200), st.booleans())
@example([[(0, "a", "x", 0, "open")], [(1, "a", "x", 80, "edit")], [(0, "a", "x", 1, "open")]], 85, False)
def test_values_are_those_of_counting_all_events_again(batches, minutes_later, doubled):
    now = START + minutes_later  # what is read is never long before what was taken

    of_pairs, of_documents = run(batches, doubled=doubled)

    pairs, documents, last = counted(batches, now)
    assert values(PAIRS, of_pairs, now) == pairs
    assert values(DOCUMENTS, of_documents, now) == documents
    assert (of_pairs["last_opened_at"] // MICROS_PER_MINUTE).tolist() == last


def as_lists(states_of_views):
    return [{name: column.tolist() for name, column in state.items()} for state in states_of_views]


@given(BATCHES)
def test_a_repeated_micro_batch_leaves_the_same_state(batches):
    assert as_lists(run(batches, doubled=True)) == as_lists(run(batches))


@given(BATCHES)
def test_a_micro_batch_that_was_cut_off_between_two_views_leaves_the_same_state(batches):
    assert as_lists(run(batches, cut_off=True)) == as_lists(run(batches))
