"""Keys: made by the command line, known by their hashes, changed while the reader runs."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from serving.auth.api_keys import KeyRing, remove_key
from serving.auth.identity import BadCredential
from tests.serving.auth.conftest import bearer, status

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr("serving.auth.api_keys.LOOK_SECONDS", 0.01)


def becomes(reader, key, expected):
    """Ask until the answer changes, which it must."""
    for _ in range(1000):
        if status(reader, key) == expected:
            return
        reader.runner.run(asyncio.sleep(0.01))
    pytest.fail(f"the answer never became {expected}")


def test_a_key_is_known_by_all_of_it(keys):
    key = keys.add("ranker", "read:ranker")
    ring = KeyRing(keys.path)
    asyncio.run(ring.refresh())

    assert ring.identify(key).name == "key:ranker"
    other = "B" if key.endswith("A") else "A"
    for wrong in (key[:-1], key + "x", key[:-1] + other, key.rpartition("_")[0] + "_", "trk_", "trk__", key.upper()):
        with pytest.raises(BadCredential, match="is not known"):
            ring.identify(wrong)


def test_a_key_made_while_the_reader_runs_is_taken_and_a_removed_one_refused(often, guarded, keys):
    old = keys.add("old", "read:*")
    reader = guarded(keys=keys)
    assert status(reader, old) == 200

    new = keys.add("new", "read:*")
    becomes(reader, new, 200)
    assert status(reader, old) == 200
    remove_key(keys.path, "old")
    becomes(reader, old, 401)

    assert status(reader, new) == 200


@pytest.mark.parametrize("broken", ["", "{", '{"keys": [{"name": "x"}]}', None])
def test_a_file_that_cannot_be_used_leaves_the_keys_read_last_and_says_so(often, guarded, keys, caplog, broken):
    key = keys.add("ranker", "read:*")
    reader = guarded(keys=keys)
    whole = keys.path.read_bytes()
    if broken is None:
        keys.path.unlink()
    else:  # at once: a file that is half written is another one that cannot be used
        other = keys.path.with_suffix(".new")
        other.write_text(broken)
        other.replace(keys.path)

    def complaints():
        return [one for one in caplog.records if one.name == "serving.auth.api_keys" and one.levelno == logging.ERROR]

    for _ in range(500):
        reader.runner.run(asyncio.sleep(0.01))
        if complaints():
            break
    for _ in range(5):
        reader.runner.run(asyncio.sleep(0.02))
    [complaint] = complaints()
    assert "the 1 read last stay" in complaint.getMessage()
    assert status(reader, key) == 200
    assert status(reader, key[:-3]) == 401
    keys.path.write_bytes(whole)
    added = keys.add("another", "read:*")
    becomes(reader, added, 200)


def test_a_folder_in_place_of_the_file_leaves_the_keys_read_last(keys):
    key = keys.add("ranker", "read:*")
    ring = KeyRing(keys.path)
    asyncio.run(ring.refresh())
    keys.path.unlink()
    keys.path.mkdir()

    asyncio.run(ring.refresh())

    assert ring.identify(key).name == "key:ranker"


def test_a_key_that_has_expired_is_refused(guarded, keys):
    key = keys.add("ranker", "read:*", expires=LONG_AGO)
    reader = guarded(keys=keys)

    code, answer = reader.send("GET", "/features", headers=bearer(key))

    assert (code, answer) == (401, {"detail": "the key has expired"})


def test_a_key_expires_while_it_is_known(keys, monkeypatch):
    key = keys.add("ranker", "read:*", expires=datetime.now(UTC) + timedelta(hours=1))
    ring = KeyRing(keys.path)
    asyncio.run(ring.refresh())
    assert ring.identify(key).name == "key:ranker"

    later = datetime.now(UTC).timestamp() + 3600
    monkeypatch.setattr("serving.auth.api_keys.time.time", lambda: later)

    with pytest.raises(BadCredential, match="expired"):
        ring.identify(key)


def test_a_file_without_keys_lets_nobody_in(guarded, keys):
    key = keys.add("ranker", "read:*")
    remove_key(keys.path, "ranker")

    assert status(guarded(keys=keys), key) == 401
