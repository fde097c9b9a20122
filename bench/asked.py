"""What readers and the store are asked: no document twice before all had their turn, so no read is saved by another."""

import json
from collections.abc import Mapping
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
import orjson

from bench.documents import SEED, VIEW, ids_of, keys_of
from tailrace.store.dynamodb.items import KEYS_PER_READ, read_request

PATH = "/get-online-features"
MOST_REQUESTS = 200
DIRECT = build_opener(ProxyHandler({}))


def slices(keys: int, *, documents: int) -> list[list[str]]:
    """Ids for as many different requests as there are documents for."""
    shuffled = ids_of(np.random.default_rng(SEED).permutation(documents))
    return [shuffled[start : start + keys] for start in range(0, documents - keys + 1, keys)][:MOST_REQUESTS]


def of_reader(ids: list[str]) -> str:
    """The body that this reader and Feast's server take alike."""
    features = [f"{VIEW.name}:{name}" for name in VIEW.feature_names]
    return json.dumps({"features": features, "entities": {VIEW.keys[0]: ids}})


def of_store(ids: list[str], *, table: str) -> list[str]:
    """The reads that bring the same from our table, to be sent side by side."""
    keys = keys_of(ids)
    parts = (keys[start : start + KEYS_PER_READ] for start in range(0, len(keys), KEYS_PER_READ))
    return [orjson.dumps(read_request(table, part, [VIEW.name], consistent=False)).decode() for part in parts]


def ask(url: str, body: str, headers: Mapping[str, str]) -> tuple[str, bytes]:
    """One request by itself: content type and body of the answer; raises `HTTPError` for a refusal."""
    request = Request(url, data=body.encode(), headers={"Content-Type": "application/json", **headers})
    with DIRECT.open(request, timeout=60) as answer:
        return answer.headers.get_content_type(), answer.read()


def speaks(url: str, body: str, headers: Mapping[str, str]) -> bool:
    """Whether a reader answers in the format that it is asked for, rather than in another or not at all."""
    try:
        return ask(url, body, headers)[0] == headers["Accept"]
    except HTTPError:
        return False
