"""A view of the lane direct, a log in a folder of the test, and a store to write to."""

from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from tailrace.definitions import DIRECT, Feature, FeatureView, Type
from tailrace.shipped.entities import DOCUMENT
from tailrace.store.codec import Codec
from tailrace.store.direct.log import Log
from tailrace.store.direct.pending import Value
from tailrace.store.direct.writer import DirectWriter
from tailrace.store.dynamodb.calls import binary, read_items, sequence_attribute
from tailrace.store.dynamodb.conditional_writes import of_attribute, order_attribute
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.keys import item_keys

RELEVANCE = FeatureView(
    name="relevance",
    entities=(DOCUMENT,),
    owner="tests",
    description="",
    freshness=timedelta(days=1),
    lane=DIRECT,
    written_features=(Feature("score", Type.FLOAT64, ""),),
)
VIEWS = {"relevance": RELEVANCE}


def value(document, occurred_at, score):
    """A value of the view, or its removal where the score is None."""
    values = None if score is None else {"score": score}
    return Value(view=RELEVANCE, keys={"document_id": document}, occurred_at=occurred_at, values=values)


def key_of(document):
    [key] = item_keys({"document": "document_id"}, {"document_id": [document]})
    return key


async def stored(client, *documents, view="relevance"):
    """By document its score, None for a tombstone, with its order; nothing for one that has no value."""
    keys = {key_of(document): document for document in documents}
    items = await read_items(client, keys, (view, order_attribute(view), sequence_attribute(view)))
    return {
        keys[key]: (score_in(binary(item, view)), of_attribute(item[order_attribute(view)]))
        for key, item in items.items()
        if view in item
    }


def score_in(packed):
    if not packed:
        return None
    return float(Codec("relevance", RELEVANCE.features).decode([packed]).columns[0].values[0])


def lines_in(folder, pattern):
    return [
        orjson.loads(line) for file in sorted(Path(folder).glob(pattern)) for line in file.read_bytes().splitlines()
    ]


async def write(client, where, *values, transactions=True):
    async with DirectWriter(DynamoStore(client), where, lambda: VIEWS, transactions=transactions) as lane:
        return await lane.write(values)


@pytest.fixture
def where(tmp_path):
    return Log(folder=tmp_path / "log", landing=str(tmp_path / "landing"))
