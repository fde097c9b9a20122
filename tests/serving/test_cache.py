"""Values that a reader may answer without asking the store, where it is told how old they may be."""

import time
from datetime import UTC, datetime

import pytest

from serving.read import store_reads
from serving.read.store_reads import Cache
from tailrace.shipped.document_activity import document_activity
from tailrace.shipped.document_profile import document_profile
from tests.serving.conftest import entity_keys

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
VIEWS = ("v",)


@pytest.fixture
def started(store, start_reader, definitions, behind):
    """A reader that may keep values for so long, and the keys of each read of it."""

    def start(seconds):
        reads = []

        async def note(request, operation, body):
            if keys := entity_keys(body):
                reads.append(sorted(keys))

        for name in ("d1", "d2"):
            store.put(document_activity, {"document_id": name}, {"events_24h": 1}, as_of=NINE)
        return start_reader(definitions, behind(note).url, cache_seconds=seconds), reads

    return start


def ask(reader, *documents, view="document_activity:events_24h"):
    return [value for value, _ in reader.values(view, entities={"document_id": list(documents)})]


def test_without_a_setting_every_request_asks_the_store(store, started):
    reader, reads = started(0)

    assert ask(reader, "d1") == [1]
    store.put(document_activity, {"document_id": "d1"}, {"events_24h": 2}, as_of=NINE)

    assert ask(reader, "d1") == [2]
    assert len(reads) == 2


def test_only_what_is_not_known_is_read_and_a_key_that_is_not_there_is_known_too(store, started):
    reader, reads = started(60)

    assert ask(reader, "d1", "none") == [1, None]
    store.put(document_activity, {"document_id": "d1"}, {"events_24h": 2}, as_of=NINE)
    assert ask(reader, "none", "d2", "d1", "d1") == [None, 1, 1, 1]
    assert ask(reader, "d2", "none") == [1, None]

    assert reads == [["document|2:d1", "document|4:none"], ["document|2:d2"]]


def test_views_that_were_not_read_together_are_not_known(store, started):
    store.put(document_profile, {"document_id": "d1"}, {"type": "pdf"}, as_of=NINE)
    reader, reads = started(60)

    assert ask(reader, "d1") == [1]
    assert ask(reader, "d1", view="document_profile:type") == ["pdf"]
    assert len(reads) == 2


def test_what_is_older_than_allowed_is_read_again(store, started):
    reader, reads = started(0.2)

    assert ask(reader, "d1") == [1]
    store.put(document_activity, {"document_id": "d1"}, {"events_24h": 2}, as_of=NINE)
    time.sleep(0.3)

    assert ask(reader, "d1") == [2]
    assert len(reads) == 2


def test_the_age_counts_from_when_the_read_began():
    kept, now = Cache(5.0), time.monotonic()

    kept.keep(VIEWS, ["old", "young"], {"old": {"v": {"B": "x"}}}, read_at=now - 6)
    kept.keep(VIEWS, ["young"], {}, read_at=now - 4)

    assert kept.known(VIEWS, ["old", "young", "other"]) == {"young": {}}


def test_no_more_is_kept_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(store_reads, "MAXIMUM_ITEMS", 3)
    kept, now = Cache(60.0), time.monotonic()

    kept.keep(VIEWS, "abcd", {}, read_at=now)
    kept.keep(VIEWS, "b", {}, read_at=now)
    kept.keep(VIEWS, "e", {}, read_at=now)

    assert set(kept.known(VIEWS, "abcde")) == {"d", "b", "e"}


def test_what_is_too_old_makes_room_by_itself():
    kept, now = Cache(1.0), time.monotonic()

    kept.keep(VIEWS, "abc", {}, read_at=now - 2)
    kept.keep(VIEWS, "d", {}, read_at=now)

    assert len(kept._items) == 1
