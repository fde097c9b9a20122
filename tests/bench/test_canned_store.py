"""A store that knows a few reads by heart."""

import asyncio
import json

import aiohttp
import orjson

from bench.processes import server
from tailrace.store.dynamodb.calls import read_request


def test_a_read_is_answered_by_any_of_its_keys_and_an_unknown_one_is_refused(tmp_path):
    known = [[["a", "b"], {"Responses": {"t": ["first" * 100_000]}}], [["c"], {"Responses": {"t": ["second"]}}]]
    (tmp_path / "answers").write_bytes(orjson.dumps(known))

    async def ask(url, keys):
        body = orjson.dumps(read_request("t", keys, ["view"], consistent=False))
        async with aiohttp.ClientSession() as session, session.post(url, data=body) as answer:
            return answer.status, json.loads(await answer.read())

    with server("bench.canned_store", "--answers", tmp_path / "answers", log=tmp_path / "log") as store:
        assert asyncio.run(ask(store.url, ["a", "x"])) == (200, known[0][1])
        assert asyncio.run(ask(store.url, ["b"])) == (200, known[0][1])
        assert asyncio.run(ask(store.url, ["c", *(f"long{i}" for i in range(20_000))])) == (200, known[1][1])
        status, refusal = asyncio.run(ask(store.url, ["x", "a"]))
    assert (status, refusal["__type"]) == (400, "ValidationException")
