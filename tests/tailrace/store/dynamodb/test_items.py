"""Items, read and written through a real store, and through one that misbehaves."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from tailrace.store.dynamodb.calls import KEY, binary, read_items, scan, to_binary
from tailrace.store.dynamodb.store import ensure_table
from tailrace.store.failures import StoreError
from tests.tailrace.store.conftest import Store
from tests.tailrace.store.proxy import Proxy

KEYS = [f"document|4:d{number:03}" for number in range(250)]


async def put(client, keys, view="visits"):
    """Write every key's own name as the view's value."""
    for start in range(0, len(keys), 25):
        puts = [
            {"PutRequest": {"Item": {KEY: {"S": key}, view: to_binary(key.encode()), "other": {"S": "kept"}}}}
            for key in keys[start : start + 25]
        ]
        await client.call("BatchWriteItem", {"RequestItems": {client.table: puts}})


def read_through(store, misbehave, keys, attributes=("visits",)):
    """What a read through a misbehaving proxy answers, and the proxy."""

    async def go():
        async with Proxy(store.url, misbehave) as proxy, store.open(proxy.url) as client:
            return await read_items(client, keys, attributes), proxy

    return asyncio.run(go())


def test_a_table_is_made_once_however_often_it_is_asked_for(store):
    async def twice(client):
        await ensure_table(client)
        await put(client, KEYS[:1])
        await ensure_table(client)
        return await read_items(client, KEYS[:1], ["visits"])

    assert list(store.run(twice)) == KEYS[:1]


def test_a_table_made_by_many_at_once_is_one_table(running):
    async def at_once(client):
        await asyncio.gather(*(ensure_table(client) for _ in range(8)))
        return (await client.call("DescribeTable", {"TableName": client.table}))["Table"]["TableStatus"]

    assert Store(running.url, "made-at-once").run(at_once) == "ACTIVE"


def test_a_table_that_is_still_being_made_is_waited_for(store):
    statuses = iter(["CREATING", "CREATING"])

    async def still_creating(request, operation, body):
        status = next(statuses, None)
        return web.json_response({"Table": {"TableStatus": status}}) if status else None

    async def go():
        async with Proxy(store.url, still_creating) as proxy, store.open(proxy.url) as client:
            await ensure_table(client)
            return proxy.counts

    assert asyncio.run(go()) == {"DescribeTable": 3}


def test_many_keys_are_read_in_requests_of_a_hundred_each_key_once(store):
    store.run(lambda client: put(client, KEYS))

    found, proxy = read_through(store, None, KEYS + KEYS[::-1] + ["document|4:gone"])

    assert {key: binary(item, "visits") for key, item in found.items()} == {key: key.encode() for key in KEYS}
    asked = [len(one["Keys"]) for _, body in proxy.asked for one in body["RequestItems"].values()]
    assert sorted(asked) == [51, 100, 100]


def test_only_the_attributes_asked_for_are_read(store):
    store.run(lambda client: put(client, KEYS[:2]))

    found = store.run(lambda client: read_items(client, KEYS[:1], ["visits", "visits#s"]))

    assert {key: set(item) for key, item in found.items()} == {KEYS[0]: {KEY, "visits"}}


def test_no_keys_are_no_request(store):
    assert read_through(store, None, [])[1].asked == []


@pytest.mark.parametrize("consistent", [True, False])
def test_a_reader_says_whether_it_may_be_a_moment_behind(store, consistent):
    async def go():
        async with Proxy(store.url) as proxy, store.open(proxy.url) as client:
            await read_items(client, KEYS[:1], ["visits"], consistent=consistent)
            return proxy.asked[0][1]["RequestItems"][store.table]["ConsistentRead"]

    assert asyncio.run(go()) is consistent


def half_unprocessed(store, proxies):
    """Answer the first half of the keys, rounded up, and give the others back."""

    async def misbehave(request, operation, body):
        asked = body["RequestItems"][store.table]
        middle = (len(asked["Keys"]) + 1) // 2
        proxies.append(asked)
        answered = asked | {"Keys": asked["Keys"][:middle]}
        back = asked | {"Keys": asked["Keys"][middle:]}
        answer = await forward(store, answered)
        if back["Keys"]:
            answer["UnprocessedKeys"] = {store.table: back}
        return web.json_response(answer)

    return misbehave


async def forward(store, asked):
    async with store.open() as client:
        return await client.call("BatchGetItem", {"RequestItems": {store.table: asked}})


def test_keys_left_unprocessed_are_asked_again_and_never_missing(store, monkeypatch):
    monkeypatch.setattr("tailrace.store.dynamodb.calls.delay_after", lambda _: 0)
    store.run(lambda client: put(client, KEYS[:100]))
    rounds: list[dict[str, Any]] = []

    found, _ = read_through(store, half_unprocessed(store, rounds), KEYS[:100])

    assert found.keys() == set(KEYS[:100])
    assert [len(asked["Keys"]) for asked in rounds] == [100, 50, 25, 12, 6, 3, 1]
    assert all(asked["ProjectionExpression"] == "#a0, #a1" for asked in rounds)


def test_keys_that_are_never_processed_are_an_error_and_not_missing(store, monkeypatch):
    monkeypatch.setattr("tailrace.store.dynamodb.calls.delay_after", lambda _: 0)

    async def never(request, operation, body):
        return web.json_response({"Responses": {store.table: []}, "UnprocessedKeys": body["RequestItems"]})

    with pytest.raises(StoreError, match="3 keys were still unprocessed after 8 rounds"):
        read_through(store, never, KEYS[:3])


def test_segments_of_a_scan_give_every_item_once(store):
    store.run(lambda client: put(client, KEYS))

    async def scan_all(client):
        segments = []
        for segment in range(3):
            pages = [page async for page in scan(client, ["visits"], segment=segment, segments=3)]
            segments.append([item for page in pages for item in page])
        return segments

    segments = store.run(scan_all)

    assert sorted(item[KEY]["S"] for segment in segments for item in segment) == KEYS
    assert all(set(item) == {KEY, "visits"} for segment in segments for item in segment)
    assert all(segments)


def test_a_scan_goes_on_over_its_pages(store):
    keys = [f"document|{number}" for number in range(60)]

    async def scan_large(client):
        for key in keys:
            item = {KEY: {"S": key}, "visits": to_binary(b"x" * 50_000)}
            await client.call("PutItem", {"TableName": client.table, "Item": item})
        return [[item[KEY]["S"] for item in page] async for page in scan(client, ["visits"])]

    pages = store.run(scan_large)

    assert len(pages) > 1
    assert sorted(key for page in pages for key in page) == sorted(keys)


def test_binary_values_come_back_and_absent_ones_are_none():
    assert binary({"visits": to_binary(bytes(range(256)))}, "visits") == bytes(range(256))
    assert binary({"visits": to_binary(b"")}, "visits") == b""
    assert binary({}, "visits") is None
