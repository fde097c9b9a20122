"""What a checkpoint says of the events that a stream has consumed, and values of another definition."""

import json
from dataclasses import replace

import numpy as np
import pytest

from jobs.streaming.checkpoint import VIEWS, remember_views, remembered_views
from jobs.streaming.event_rows import EventRows
from jobs.streaming.fast_path import OtherDefinition, pack_states, unpack_states
from jobs.streaming.repair import StreamInput
from jobs.streaming.run import fingerprints_of, refuse_other_definitions
from jobs.streaming.source import ALL_LINES, Consumed, consumed_by, files_of_batch
from jobs.streaming.window_state import empty
from tailrace.definitions import load_definitions
from tailrace.schemas.landing import LandingError
from tests import feeds
from tests.jobs.streaming.test_state import DOCUMENTS


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "metadata").write_text(json.dumps({"id": "00000000-0000-00ff-0000-000000000000"}))
    return tmp_path


def write(checkpoint, entry, *lines):
    path = checkpoint / entry
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["v1", *(json.dumps(line) for line in lines)]))


def test_nothing_is_consumed_before_a_micro_batch_is_complete(checkpoint):
    write(checkpoint, "offsets/0", {}, {"events": {"0": 5}})

    assert consumed_by(checkpoint, folder="/landing/events") == Consumed()


def test_offsets_are_those_of_the_last_micro_batch_that_is_complete(checkpoint):
    for batch in (9, 10, 11):
        write(checkpoint, f"offsets/{batch}", {}, {"events": {"0": batch, "1": 7}})
    for batch in (9, 10):
        write(checkpoint, f"commits/{batch}", {})

    found = consumed_by(checkpoint, folder="/landing/events")

    assert (found.run, found.batch, found.topic) == (0xF, 10, "events")
    assert found.ends == {"kafka:events/0": 10, "kafka:events/1": 7}


@pytest.mark.parametrize(
    ("number", "files"),
    [(0, ["0.jsonl"]), (1, ["1.jsonl", "2.jsonl"]), (2, ["3.jsonl"])],
    ids=["old", "two", "compact"],
)
def test_the_files_of_a_micro_batch_are_those_of_the_log_since_the_one_before(checkpoint, number, files):
    for batch, entry in enumerate((0, 2, 3, 4)):
        write(checkpoint, f"offsets/{batch}", {}, {"logOffset": entry})
    of_entries = [{"path": f"file:///landing/events/{entry}.jsonl", "batchId": entry} for entry in range(5)]
    for entry in (1, 2, 4):
        write(checkpoint, f"sources/0/{entry}", of_entries[entry])
    write(checkpoint, "sources/0/3.compact", *of_entries[:4])  # the first entry is there alone

    assert files_of_batch(checkpoint, "/landing/events", number) == files


def test_a_plan_in_the_log_stands_for_its_files(checkpoint):
    (checkpoint / "plans").mkdir()
    (checkpoint / "plans" / "0000000003.plan").write_text(json.dumps(["b/2.jsonl", "a.jsonl"]))
    write(checkpoint, "offsets/0", {}, {"logOffset": 0})
    write(checkpoint, "commits/0", {})
    write(checkpoint, "sources/0/0", {"path": "file:///moved%20since/plans/0000000003.plan", "batchId": 0})

    assert files_of_batch(checkpoint, "/landing/events", 0) == ["a.jsonl", "b/2.jsonl"]
    assert consumed_by(checkpoint, folder="/landing/events").ends == dict.fromkeys(("a.jsonl", "b/2.jsonl"), ALL_LINES)


def test_files_are_those_of_the_log_of_the_folder_compact_or_not(checkpoint):
    write(checkpoint, "offsets/3", {}, {"logOffset": 10})
    write(checkpoint, "commits/3", {})
    of_batches = [{"path": f"file:///landing/events/a%20b/{batch}.jsonl", "batchId": batch} for batch in (2, 9, 10, 11)]
    write(checkpoint, "sources/0/9.compact", *of_batches[:2])
    write(checkpoint, "sources/0/10", of_batches[2])
    write(checkpoint, "sources/0/11", of_batches[3])
    (checkpoint / "sources" / "0" / ".9.compact.crc").write_text("")

    found = consumed_by(checkpoint, folder="/landing/events")

    assert found.ends == dict.fromkeys(("a b/2.jsonl", "a b/9.jsonl", "a b/10.jsonl"), ALL_LINES)


def test_events_of_another_source_than_the_streams_are_refused(checkpoint):
    write(checkpoint, "offsets/0", {}, {"events": {"0": 5}})
    write(checkpoint, "commits/0", {})
    folder, kafka = (
        StreamInput(rows=EventRows.of(feeds.DEFINITIONS), topic=topic, folder="/landing/events", checkpoint=checkpoint)
        for topic in (None, "events")
    )

    assert kafka.consumed().topic == "events"
    told = (
        f"follows the topic events; set TAILRACE_KAFKA .*go over to /landing/events, stop it, remove {checkpoint}, and"
    )
    with pytest.raises(LandingError, match=told):
        folder.consumed()


def test_values_of_another_definition_are_told_with_what_to_do():
    ((_, value),) = pack_states(DOCUMENTS, ["d1"], empty(DOCUMENTS, 1), np.ones(1, bool), as_of=0)

    with pytest.raises(OtherDefinition, match="stop the stream, run `tailrace rebuild documents`"):
        unpack_states(replace(DOCUMENTS, aggregations=DOCUMENTS.aggregations[:1]), [value])


def counting_only(definitions, *types):
    """The same definitions, but `recent_events` of a document counts events of these types."""
    view = definitions.stream_views["document_recent"]
    count, *others = view.aggregations
    changed = replace(view, aggregations=(replace(count, types=types), *others))
    return replace(definitions, views=definitions.views | {view.name: changed})


def test_a_view_that_counts_other_events_under_the_same_names_is_refused_until_it_is_rebuilt(checkpoint):
    before = load_definitions()
    after = counting_only(before, "edit")
    refuse_other_definitions(checkpoint, before)  # nothing is known of it
    remember_views(checkpoint, fingerprints_of(before))

    refuse_other_definitions(checkpoint, before)
    with pytest.raises(OtherDefinition, match=r"document_recent is defined otherwise .* `tailrace rebuild"):
        refuse_other_definitions(checkpoint, after)

    remember_views(checkpoint, fingerprints_of(after))
    refuse_other_definitions(checkpoint, after)


def test_views_noted_by_their_names_are_known_and_refused_for_nothing(checkpoint):
    checkpoint.with_name(VIEWS).write_text('["document_recent", "gone"]')

    refuse_other_definitions(checkpoint, load_definitions())

    assert remembered_views(checkpoint) == {"document_recent": None, "gone": None}


@pytest.mark.parametrize("content", ["", "nu", "null", "[1]", "7"])
def test_a_damaged_note_of_the_views_is_logged_by_its_name_and_written_anew(checkpoint, caplog, content):
    checkpoint.with_name(VIEWS).write_text(content)
    definitions = load_definitions()

    refuse_other_definitions(checkpoint, definitions)
    remember_views(checkpoint, fingerprints_of(definitions))

    assert VIEWS in caplog.text
    assert remembered_views(checkpoint) == fingerprints_of(definitions)
