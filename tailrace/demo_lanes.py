"""The demo's last scene: what is written to the store beside refreshes is in the ranker's next answer."""

import json
import time
import urllib.request
from typing import Any

from tailrace.errors import CommandError
from tailrace.ranker import DIRECT, START_SECONDS, ask

SCORE = 0.87
MODEL = "demo-judge"
LONGEST_WAIT = 30.0  # seconds

Json = dict[str, Any]


def judge(address: str, query: Json, document: str) -> Json:
    """Write a model's score of a document, and ask as the ranker does until the answer has it."""
    began = time.perf_counter()
    entity = {"keys": {"document_id": document}, "values": {"relevance": SCORE, "judged_by": MODEL}}
    post(f"{address}/v1/write", {"view": "document_relevance", "entities": [entity]})
    acknowledged = time.perf_counter()
    while value_of(address, query, "relevance", document) != SCORE:
        if time.perf_counter() - began > LONGEST_WAIT:
            raise CommandError(f"the score of {document} was written, and the reader does not answer it")
    return {
        "document": document,
        "score": SCORE,
        "acknowledged_ms": round(1000 * (acknowledged - began), 1),
        "answered_ms": round(1000 * (time.perf_counter() - began), 1),
    }


def value_of(address: str, query: Json, feature: str, document: str) -> Any:
    """What the ranker's next answer has of one feature for one document."""
    answer, _ = ask(address, query, times=1)
    names = answer["metadata"]["feature_names"]
    [column] = [result for name, result in zip(names, answer["results"], strict=True) if name == feature]
    return column["values"][query["entities"]["document_id"].index(document)]


def post(url: str, body: Json) -> Json:
    request = urllib.request.Request(url, data=json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    with DIRECT.open(request, timeout=START_SECONDS) as response:
        answer: Json = json.load(response)
    return answer
