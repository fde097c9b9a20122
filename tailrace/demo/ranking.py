"""The demo's ranker: its query to a real reader, and what is written to the store meanwhile is in its next answer."""

import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tailrace.errors import CommandError
from tailrace.events.files import write_lines
from tailrace.local.background import PLAIN_HTTP
from tailrace.schemas.slots import to_text
from tailrace.settings import Settings
from tailrace.shipped.sources import events as shipped_events
from tailrace.workspace.workspace import Workspace

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
START_SECONDS = 30
STOP_SECONDS = 20
ASKED = 50  # times, for a latency that is not the first one's

SCORE = 0.87
MODEL = "demo-judge"
RECENT = "actor_document_recent"
LONGEST_WAIT = 30.0  # seconds
LOOK_SECONDS = 0.02

Json = dict[str, Any]


@contextmanager
def reader(settings: Settings) -> Iterator[str]:
    """A reader of this home in a process of its own; yields its address and stops it at the end."""
    command = [sys.executable, "-m", "serving", "--port", "0", "--local"]
    environment = os.environ | {"TAILRACE_HOME": str(settings.home)} | PLAIN_HTTP
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        line = process.stdout.readline() if process.stdout else ""
        address = re.search(r"http://\S+", line)
        if address is None:
            raise CommandError(f"the reader did not start; it said {line!r}")
        yield address[0]
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def ask(address: str, query: dict[str, Any], *, times: int = ASKED) -> tuple[dict[str, Any], dict[str, float]]:
    """The answer to a query, and the milliseconds that asking it several times took."""
    body = json.dumps(query).encode()
    took = []
    answer: dict[str, Any] = {}
    for _ in range(times):
        began = time.perf_counter()
        request = urllib.request.Request(f"{address}/get-online-features", data=body)
        request.add_header("Content-Type", "application/json")
        with DIRECT.open(request, timeout=START_SECONDS) as response:
            answer = json.load(response)
        took.append((time.perf_counter() - began) * 1000)
    return answer, {
        "first_ms": round(took[0], 1),
        "p50_ms": round(statistics.median(took), 1),
        "p95_ms": round(statistics.quantiles(took, n=20, method="inclusive")[-1] if times > 1 else took[0], 1),
        "asked": times,
    }


@contextmanager
def following(workspace: Workspace) -> Iterator[None]:
    """Have a stream follow the landing folder, from when it has consumed all that landed there."""
    from jobs.streaming import run
    from jobs.streaming.source import Plans, follow_plans

    checkpoint = workspace.settings.home / "demo" / "stream"  # not the home's own: its stream may follow a topic later
    plans = Plans(str(Path(workspace.settings.landing) / shipped_events.name), checkpoint)
    plans.look()
    messages = follow_plans(workspace.spark, plans)
    query = run.start_query(
        messages, workspace.definitions, workspace.store, checkpoint=str(checkpoint), folder=plans.folder
    )
    try:
        query.processAllAvailable()
        with plans.looking():
            yield
        query.processAllAvailable()  # Spark reports a micro-batch that is cut off as an error
    finally:
        query.stop()


def open_document(workspace: Workspace, address: str, entities: Json) -> Json:
    """Have the actor open the first of the documents, and ask as the ranker does until the answer shows it."""
    query = {"features": [RECENT], "entities": entities}
    before = first_row(address, query)
    opened_at, began = datetime.now(UTC), time.perf_counter()
    land_opening(Path(workspace.settings.landing), before["actor_id"], before["document_id"], opened_at)
    while not shows(after := first_row(address, query), opened_at):
        if time.perf_counter() - began > LONGEST_WAIT:
            raise CommandError(f"{before['document_id']} was opened, and the reader does not answer it")
        time.sleep(LOOK_SECONDS)
    earlier = {f"{name}_before": before[name] for name in ("opens_15m", "last_opened_at")}
    return after | earlier | {"answered_ms": round(1000 * (time.perf_counter() - began), 1)}


def land_opening(landing: Path, actor: str, document: str, at: datetime) -> None:
    """Land the event as a connector would, in a file of its own."""
    name = f"opened-{at:%Y%m%dT%H%M%S}"
    event = {"event_id": name, "event_type": "open", "actor_id": actor, "document_id": document}
    write_lines([event | {"occurred_at": to_text(at)}], landing / shipped_events.name / f"{name}.jsonl")


def shows(row: Json, opened_at: datetime) -> bool:
    last = row["last_opened_at"]
    return last is not None and datetime.fromisoformat(last) == opened_at and row["opens_15m"] > 0


def write_score(address: str, query: Json, document: str) -> Json:
    """Write a model's score of a document, and ask as the ranker does until the answer has it."""
    began = time.perf_counter()
    entity = {"keys": {"document_id": document}, "values": {"relevance": SCORE, "judged_by": MODEL}}
    post(f"{address}/v1/write", {"view": "document_relevance", "entities": [entity]})
    acknowledged = time.perf_counter()
    while first_row(address, query)["relevance"] != SCORE:
        if time.perf_counter() - began > LONGEST_WAIT:
            raise CommandError(f"the score of {document} was written, and the reader does not answer it")
    return {
        "document": document,
        "score": SCORE,
        "acknowledged_ms": round(1000 * (acknowledged - began), 1),
        "answered_ms": round(1000 * (time.perf_counter() - began), 1),
    }


def first_row(address: str, query: Json) -> Json:
    """The first row in the ranker's next answer."""
    answer, _ = ask(address, query, times=1)
    names = answer["metadata"]["feature_names"]
    return {name: result["values"][0] for name, result in zip(names, answer["results"], strict=True)}


def post(url: str, body: Json) -> Json:
    request = urllib.request.Request(url, data=json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    with DIRECT.open(request, timeout=START_SECONDS) as response:
        answer: Json = json.load(response)
    return answer
