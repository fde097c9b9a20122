"""The embedded store as a process: started once, stopped, killed, and found again."""

import asyncio
import json
import os
import signal
import socket
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest

from tailrace.store import embedded
from tailrace.store.dynamodb.calls import KEY, open_client, read_items
from tailrace.store.dynamodb.store import ensure_table
from tailrace.store.embedded import EmbeddedStoreError, Running, runs


def talk(running, action):
    async def go():
        async with open_client(url=running.url, region="us-east-1", table="talked-to") as client:
            await ensure_table(client)
            return await action(client)

    return asyncio.run(go())


def put(running, key):
    talk(running, lambda client: client.call("PutItem", {"TableName": client.table, "Item": {KEY: {"S": key}}}))


def keys_in(running, *keys):
    return set(talk(running, lambda client: read_items(client, keys, [])))


def kill(running):
    os.kill(running.pid, signal.SIGKILL)
    psutil.Process(running.pid).wait(10)


def test_a_store_started_twice_is_one_process(make_settings):
    settings = make_settings()

    first, second = embedded.start(settings), embedded.start(settings)

    assert first == second == embedded.status(settings)
    assert first.url == f"http://127.0.0.1:{first.port}"
    assert str(settings.home / "store" / "store.db") in psutil.Process(first.pid).cmdline()


def test_a_store_started_by_many_at_once_is_one_process(make_settings):
    settings = make_settings()

    with ThreadPoolExecutor(6) as pool:
        started = set(pool.map(embedded.start, [settings] * 6))

    assert len(started) == 1


def test_a_store_is_bound_to_loopback_alone(make_settings):
    running = embedded.start(make_settings())

    listening = [one.laddr.ip for one in psutil.Process(running.pid).net_connections() if one.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


def test_stopping_ends_the_process_and_says_whether_one_ran(make_settings):
    settings = make_settings()
    running = embedded.start(settings)

    assert embedded.stop(settings) is True
    assert embedded.stop(settings) is False
    assert embedded.status(settings) is None
    assert not runs(running.pid)


def test_a_home_that_never_had_a_store_has_none(make_settings):
    settings = make_settings()

    assert embedded.status(settings) is None
    assert not settings.home.exists()


def test_what_was_stopped_is_found_again_at_the_same_port(make_settings):
    settings = make_settings()
    before = embedded.start(settings)
    put(before, "kept")
    embedded.stop(settings)

    after = embedded.start(settings)

    assert (after.port, keys_in(after, "kept", "never")) == (before.port, {"kept"})
    assert after.pid != before.pid


def test_what_was_killed_is_found_again_at_the_same_port(make_settings):
    settings = make_settings()
    before = embedded.start(settings)
    put(before, "acknowledged")
    kill(before)

    assert embedded.status(settings) is None
    after = embedded.start(settings)

    assert (after.port, keys_in(after, "acknowledged")) == (before.port, {"acknowledged"})


def test_a_port_taken_meanwhile_is_given_up_for_another(make_settings):
    settings = make_settings()
    before = embedded.start(settings)
    put(before, "kept")
    embedded.stop(settings)

    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", before.port))
        other.listen()
        after = embedded.start(settings)

    assert after.port != before.port
    assert keys_in(after, "kept") == {"kept"}


def test_stores_of_two_homes_do_not_touch_each_other(make_settings):
    one, two = make_settings("one"), make_settings("two")
    first, second = embedded.start(one), embedded.start(two)
    put(first, "of-one")

    assert keys_in(second, "of-one") == set()
    assert embedded.stop(one)
    assert embedded.status(two) == second


def test_a_process_that_is_not_the_store_is_neither_found_nor_stopped(make_settings):
    settings = make_settings()
    running = embedded.start(settings)
    embedded.stop(settings)
    record = settings.home / "store" / "process.json"
    record.write_text(json.dumps({"pid": os.getpid(), "port": running.port}))  # its number was given to another

    assert embedded.status(settings) is None
    assert embedded.stop(settings) is False


@pytest.mark.parametrize("torn", ["", '{"pid": 12'])
def test_a_torn_record_does_not_keep_the_store_from_starting(make_settings, torn):
    settings = make_settings()
    put(embedded.start(settings), "kept")
    embedded.stop(settings)
    record = settings.home / "store" / "process.json"
    record.write_text(torn)

    try:
        found = embedded.status(settings)
    except ValueError as error:
        record.unlink()
        pytest.fail(f"{error!r} for a record {torn!r}")
    assert found is None
    assert keys_in(embedded.start(settings), "kept") == {"kept"}


def test_a_proxy_for_the_outside_is_not_asked_for_what_runs_here(make_settings, monkeypatch):
    monkeypatch.setattr(embedded, "START_SECONDS", 2)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the environment of its first use

    assert embedded.start(make_settings()).pid


def test_a_missing_binary_is_told_with_what_else_can_be_used(make_settings, tmp_path):
    settings = make_settings(TAILRACE_STORE_BINARY=str(tmp_path / "nowhere"))

    with pytest.raises(EmbeddedStoreError) as refusal:
        embedded.start(settings)

    told = str(refusal.value)
    assert told.startswith(f"no embedded store at {tmp_path / 'nowhere'}; run `make setup`")
    assert "TAILRACE_STORE_BINARY" in told
    assert "TAILRACE_STORE_URL" in told
    assert embedded.status(settings) is None


def test_a_binary_that_ends_at_once_is_told_with_its_log(make_settings, tmp_path):
    binary = tmp_path / "broken"
    binary.write_text("#!/bin/sh\necho no such option\nexit 2\n")
    binary.chmod(0o755)
    settings = make_settings(TAILRACE_STORE_BINARY=str(binary))

    with pytest.raises(EmbeddedStoreError, match=f"did not start; its log is {settings.home}/store/store.log"):
        embedded.start(settings)

    assert "no such option" in (settings.home / "store" / "store.log").read_text()
    assert embedded.status(settings) is None


def test_a_store_that_is_set_is_used_and_none_is_started(make_settings):
    settings = make_settings(TAILRACE_STORE_URL="http://store.example:8000")

    assert embedded.store_url(settings) == "http://store.example:8000"
    assert embedded.status(settings) is None


def test_the_stores_address_starts_the_store_if_need_be(make_settings):
    settings = make_settings()

    url = embedded.store_url(settings)

    running = embedded.status(settings)
    assert isinstance(running, Running)
    assert running.url == url == embedded.store_url(replace(settings))
