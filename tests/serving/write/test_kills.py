"""Workers that are killed while they write: what was acknowledged is in the store and lands, and nothing else differs."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from serving.client import AsyncClient, ReaderError
from tailrace.shipped.document_relevance import document_relevance
from tailrace.store import embedded
from tailrace.store.codec import Codec
from tailrace.store.direct.log import Log
from tailrace.store.direct.replay import adopt_all
from tailrace.store.dynamodb.calls import binary, open_client, read_items
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.keys import item_keys
from tests.serving.processes import served, until

KILLS = 8
WRITERS = 6
VIEW = "document_relevance"
DOCUMENTS = [f"d{i}" for i in range(40)]


class Pipeline:
    """Writes rising scores of the same documents, and knows which were acknowledged and which were sent."""

    def __init__(self, address):
        self.address = address
        self.sent = defaultdict(list)
        self.acknowledged = defaultdict(list)
        self.unknown = 0
        self.stop = False

    async def write(self, number):
        """One writer, which has documents of its own, so that their order is known."""
        own = DOCUMENTS[number::WRITERS]
        async with AsyncClient(self.address) as client:
            for score in range(1, 1_000_000):
                if self.stop:
                    return
                entities: Any = [
                    {"keys": {"document_id": one}, "values": {"relevance": score / 1e6, "judged_by": "m"}}
                    for one in own
                ]
                for one in own:
                    self.sent[one].append(score)
                try:
                    results = await client.write(VIEW, entities)
                except (aiohttp.ClientError, ReaderError, TimeoutError, OSError):
                    self.unknown += 1
                    await asyncio.sleep(0.01)
                    continue
                for one, result in zip(own, results, strict=True):
                    assert result["status"] == "WRITTEN", result
                    self.acknowledged[one].append(score)


async def write_while_workers_die(running):
    pipeline = Pipeline(running.address)
    writers = [asyncio.create_task(pipeline.write(number)) for number in range(WRITERS)]
    for _ in range(KILLS):
        before = sum(map(len, pipeline.acknowledged.values()))
        while sum(map(len, pipeline.acknowledged.values())) < before + 400:
            assert not any(writer.done() for writer in writers)
            await asyncio.sleep(0.01)
        running.workers()[0].kill()
        await asyncio.to_thread(until, lambda: len(running.workers()) == 2)
    pipeline.stop = True
    await asyncio.gather(*writers)
    return pipeline


async def stored_scores(settings, where):
    """What the store has once all that was left behind is finished."""
    url = embedded.store_url(settings)
    async with open_client(url=url, region=settings.store.region, table=settings.store.table) as client:
        failures = await adopt_all(DynamoStore(client), {VIEW: document_relevance}, where, transactions=True)
        keys = item_keys({"document": "document_id"}, {"document_id": DOCUMENTS})
        items = await read_items(client, keys, [VIEW])
    assert failures == []
    return {one: binary(items[key], VIEW) for one, key in zip(DOCUMENTS, keys, strict=True)}


@pytest.mark.slow
def test_nothing_that_was_acknowledged_is_lost_when_workers_are_killed(settings, store, tmp_path):
    own = replace(settings, home=tmp_path / "home")
    url = embedded.store_url(settings)
    with served(own, tmp_path, workers=2, STORE_URL=url) as running:
        pipeline = asyncio.run(write_while_workers_die(running))
    where = Log(folder=own.direct_log, landing=str(own.home / "landing"))
    stored = asyncio.run(stored_scores(settings, where))
    landed = landed_scores(Path(where.landing))

    assert pipeline.unknown > 0
    assert list(own.direct_log.iterdir()) == []
    for document in DOCUMENTS:
        scores = [score for _, score in sorted(landed[document])]
        assert len(set(scores)) == len(scores)
        assert set(pipeline.acknowledged[document]) <= set(scores) <= set(pipeline.sent[document])
        assert score_in(stored[document]) == scores[-1]
        assert scores[-1] >= pipeline.acknowledged[document][-1]


def landed_scores(folder):
    """By document the orders and scores that landed."""
    found = defaultdict(list)
    for file in (folder / "direct_writes").glob("*.jsonl"):
        for line in file.read_bytes().splitlines():
            told = orjson.loads(line)
            order = (datetime.fromisoformat(told["occurred_at"]), told["revision"])
            found[told["keys"]["document_id"]].append((order, round(told["values"]["relevance"] * 1e6)))
    return found


def score_in(value):
    columns = Codec(VIEW, document_relevance.features).decode([value]).columns
    return round(float(columns[0].values[0]) * 1e6)
