"""The documents that every reader is asked for: their values, the way into our store, requests for them, and whether answers are alike."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
import numpy.typing as npt
import orjson

from bench.served.document_ranking import document_ranking
from tailrace.errors import DataError
from tailrace.schemas.tables import Type
from tailrace.store.codec import Codec, ColumnValues
from tailrace.store.control import Cursor
from tailrace.store.dynamodb.calls import StoreClient, read_request
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.dynamodb.unconditional import put_anyhow
from tailrace.store.keys import item_keys
from tailrace.store.port import KEYS_PER_READ

Array = npt.NDArray[Any]

VIEW = document_ranking
SERVED = Path(__file__).parent / "served"  # the folder for `TAILRACE_FEATURES`
SEED = 20_260_302
NEWEST = np.datetime64("2026-03-02T10:15:00", "us")
ITEMS_PER_TRANSACTION = 100
TRANSACTIONS_AT_ONCE = 4
TYPES = np.array(["doc", "sheet", "slides", "folder", "page"], object)
MAY_BE_NULL = {"edit_trend": 0.3}  # no time is: the peer keeps a null one as the year -292,277,022,656

PATH = "/get-online-features"
MOST_REQUESTS = 200
DIRECT = build_opener(ProxyHandler({}))

FEATURE_TYPES = {feature.name: feature.type for feature in VIEW.features}


def ids_of(numbers: Array) -> list[str]:
    return [f"d{number:07d}" for number in numbers.tolist()]


def columns_of(count: int) -> dict[str, ColumnValues]:
    """The values of documents 0 to `count`, by feature; the same each time."""
    drawn = np.random.default_rng(SEED)
    columns = {}
    for feature in VIEW.features:
        valid = drawn.random(count) >= MAY_BE_NULL.get(feature.name, 0.0)
        columns[feature.name] = ColumnValues(draw(drawn, feature.name, feature.type, count), valid)
    return columns


def draw(drawn: np.random.Generator, name: str, type_: Type, count: int) -> Array:
    if type_ is Type.INT64:
        return drawn.integers(0, 5_000, count)
    if type_ is Type.FLOAT64:
        return drawn.random(count)
    if type_ is Type.BOOL:
        return drawn.random(count) < 0.5
    if type_ is Type.TIMESTAMP:  # whole seconds: the peer keeps nothing smaller
        return NEWEST - drawn.integers(0, 30 * 86_400, count).astype("timedelta64[s]")
    if name == "type":
        return TYPES[drawn.integers(0, len(TYPES), count)]
    return np.array([f"u{number:05d}" for number in drawn.integers(0, 1_000, count)], object)


async def fill(client: StoreClient, count: int) -> None:
    """Write `count` documents unless a run before has; what a push would record of them comes last."""
    store = DynamoStore(client)
    await store.ensure_ready()
    if VIEW.name in await store.read_controls([VIEW.name]):
        return
    encoded = Codec(VIEW.name, VIEW.features)
    as_of = int(NEWEST.astype(np.int64))
    values = encoded.encode(list(columns_of(count).values()), as_of=as_of)
    for rows in transactions(values):
        await put_anyhow(client, rows, view=VIEW.name)
    control = await store.take_lease(VIEW.name, owner="bench", seconds=1)
    assert control is not None  # nobody else writes to this store
    cursor = Cursor(table_id="bench", version=0, fingerprint=encoded.fingerprint)
    await store.close_push(VIEW.name, sequence=control.sequence, cursor=cursor, watermark=as_of, features=VIEW.features)


def transactions(values: list[bytes]) -> Iterator[list[tuple[str, bytes]]]:
    """Values with their keys, as many together as one transaction takes."""
    rows = list(zip(keys_of(ids_of(np.arange(len(values)))), values, strict=True))
    for start in range(0, len(rows), ITEMS_PER_TRANSACTION):
        yield rows[start : start + ITEMS_PER_TRANSACTION]


def keys_of(ids: list[str]) -> list[str]:
    """Item keys of documents."""
    return item_keys({entity.name: entity.key for entity in VIEW.entities}, dict.fromkeys(VIEW.keys, ids))


def slices(keys: int, *, documents: int) -> list[list[str]]:
    """Ids for as many different requests as there are documents for."""
    shuffled = ids_of(np.random.default_rng(SEED).permutation(documents))
    return [shuffled[start : start + keys] for start in range(0, documents - keys + 1, keys)][:MOST_REQUESTS]


def reader_body(ids: list[str]) -> str:
    """The body that this reader and Feast's server take alike."""
    features = [f"{VIEW.name}:{name}" for name in VIEW.feature_names]
    return json.dumps({"features": features, "entities": {VIEW.keys[0]: ids}})


def store_bodies(ids: list[str], *, table: str) -> list[str]:
    """The reads that bring the same from our table, to be sent side by side."""
    keys = keys_of(ids)
    parts = (keys[start : start + KEYS_PER_READ] for start in range(0, len(keys), KEYS_PER_READ))
    return [orjson.dumps(read_request(table, part, [VIEW.name], consistent=False)).decode() for part in parts]


def ask_once(url: str, body: str, headers: Mapping[str, str]) -> tuple[str, bytes]:
    """One request by itself: content type and body of the answer; raises `HTTPError` for a refusal."""
    request = Request(url, data=body.encode(), headers={"Content-Type": "application/json", **headers})
    with DIRECT.open(request, timeout=60) as answer:
        return answer.headers.get_content_type(), answer.read()


def speaks(url: str, body: str, headers: Mapping[str, str]) -> bool:
    """Whether a reader answers in the format that it is asked for, rather than in another or not at all."""
    try:
        return ask_once(url, body, headers)[0] == headers["Accept"]
    except HTTPError:
        return False


class Unequal(DataError):
    """Two readers answer differently, so comparing them says nothing; the message names where."""


def equal_values(one: bytes, other: bytes) -> int:
    """How many values two answers in Feast's JSON share, which is all of them; raises `Unequal`."""
    ours, theirs = dict(values_of(one)), dict(values_of(other))
    if ours.keys() != theirs.keys() or not ours:
        raise Unequal(f"the answers have {len(ours)} and {len(theirs)} values")
    for place, value in ours.items():
        if value != theirs[place]:
            name, row = place
            raise Unequal(f"feature {name}, row {row} is {value!r} in one answer and {theirs[place]!r} in the other")
    return len(ours)


def values_of(answer: bytes) -> Iterator[tuple[tuple[str, int], Any]]:
    answered = orjson.loads(answer)
    for name, result in zip(answered["metadata"]["feature_names"], answered["results"], strict=True):
        if name in FEATURE_TYPES:
            for row, value in enumerate(result["values"]):
                yield (name, row), seconds_of(value) if FEATURE_TYPES[name] is Type.TIMESTAMP else value


def seconds_of(value: str | float | None) -> float | None:
    """A time as text, or as what it already is: seconds since 1970."""
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value
