"""A recount from nothing, at one moment or at each, comes to what the stream came to event by event."""

import numpy as np
import pyarrow as pa
from hypothesis import given

from jobs.streaming.fast_path import pack_states, settled_states, unpack_states
from jobs.streaming.recount import recount_pairs, recount_rollups
from tailrace.definitions.stream_view import MICROS_PER_MINUTE
from tests.jobs.streaming.test_state import BATCHES, DOCUMENTS, PAIRS, START, run

VIEWS = (PAIRS, DOCUMENTS)
Event = tuple[int, str, str, int, str]
PAIR_KEYS = [f"actor+document|1:{actor}1:{document}" for actor in "ab" for document in "xy"]
DOCUMENT_KEYS = [f"document|1:{document}" for document in "xy"]


def as_they_came_first(batches):
    """Deliveries that tell the same of an id each time."""
    first: dict[tuple[int, str, str], Event] = {}
    return [[first.setdefault(event[:3], event) for event in batch] for batch in batches]


def streamed(batches):
    """What the store holds after micro-batches, without what tells these apart."""
    of_pairs, of_documents = run(batches)
    found: dict[str, bytes] = {}
    for view, keys, state in ((PAIRS, PAIR_KEYS, of_pairs), (DOCUMENTS, DOCUMENT_KEYS, of_documents)):
        found |= pack_states(view, keys, settled_states(view, state), state["_batch"] >= 0, as_of=0)
    return found


def recounted(batches, *, moments):
    """By moment, the values that a recount tells of, each batch being of the moment that is given for it."""
    rows = [
        {
            "key_actor_id": actor,
            "key_document_id": document,
            "id": f"e{id_}",
            "type": type_,
            "at": (START + minute) * MICROS_PER_MINUTE + 7,
            "appended": number,
            "place": f"{place:03}",
            "moment": moments[number],
        }
        for number, batch in enumerate(batches)
        for place, (id_, actor, document, minute, type_) in enumerate(batch)
    ]
    if not rows:
        return {}
    pairs = recount_pairs([pa.RecordBatch.from_pylist(rows)], VIEWS, settled_states)
    told: dict[int, dict[str, bytes]] = {}
    for part in recount_rollups(list(pairs), VIEWS[1:], settled_states):
        for row in part.to_pylist():
            view = next(view for view in VIEWS if view.name == row["view"])
            ((key, value),) = pack_states(
                view, [row["item_key"]], unpack_states(view, [row["value"]]), np.ones(1, bool), as_of=0
            )
            assert told.setdefault(row["moment"], {}).setdefault(key, value) == value
    return told


@given(BATCHES)
def test_a_recount_of_all_comes_to_what_the_stream_has(batches):
    batches = as_they_came_first(batches)

    assert recounted(batches, moments=[9] * len(batches)).get(9, {}) == streamed(batches)


@given(BATCHES)
def test_a_recount_of_each_moment_comes_to_what_the_stream_had_then(batches):
    batches = as_they_came_first(batches)

    told, known = recounted(batches, moments=range(len(batches))), dict[str, bytes]()

    for number in range(len(batches)):
        known |= told.get(number, {})
        assert known == streamed(batches[: number + 1])
