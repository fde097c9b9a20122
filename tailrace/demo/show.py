"""The demo: the main job from landing files, odd ones among them, to a ranker's answer, on real input, with its figures."""

import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
from pyspark.sql import functions as F

from sinks.net_changes import online_rows
from tailrace.definitions import BatchView
from tailrace.demo import ranking
from tailrace.demo.events import Tick, demo_ticks, empty_home, land_tick
from tailrace.demo.ranking import following, open_document, write_score
from tailrace.errors import CommandError
from tailrace.events.oddities import ODDITIES, land_oddities
from tailrace.lake.tables import Lake
from tailrace.lake.task_progress import Progress
from tailrace.schemas import bronze
from tailrace.schemas.slots import to_text
from tailrace.shipped.sources import events as shipped_events
from tailrace.workspace.reconciliation import reconcile_all
from tailrace.workspace.refresh import refresh, refresh_json
from tailrace.workspace.workspace import Workspace

FOLDER = "odd"

CANDIDATES = 100  # documents in the ranker's query

Json = dict[str, Any]


def land_odd_files(landing: Path) -> None:
    """Put every oddity into a folder of its own among the events."""
    land_oddities(landing / shipped_events.name / FOLDER)


def remove_odd_files(landing: Path) -> None:
    """Take the folder away again; the stream, which follows the same rules, would name each of them once more."""
    shutil.rmtree(landing / shipped_events.name / FOLDER)


def refused_odd_files(lake: Lake) -> dict[str, str]:
    """Why each oddity was refused, by its name; raises `CommandError` for one that was not."""
    whole = lake.read(bronze.QUARANTINE).where((F.col("feed") == shipped_events.name) & F.isnull("line"))
    reasons = {row.file: row.reason for row in whole.collect()}
    refused = {f"{FOLDER}/{oddity.name}": oddity.reason for oddity in ODDITIES}
    left = [name for name, reason in refused.items() if reason not in reasons.get(name, "")]
    if left:
        raise CommandError(f"odd files were not refused by name: {', '.join(left)}; look into bronze.quarantine")
    return {name: reasons[name] for name in refused}


def run_demo(workspace: Workspace, *, git: Path | None, events: Path | None, progress: Progress) -> Json:
    """Replay four ticks, then ask the reader; the figures also go to `demo/summary.json` in the home."""
    began = time.monotonic()
    progress("preparing events")
    source, ticks = demo_ticks(git=git, events=events)
    empty_home(workspace.settings)
    landing = Path(workspace.settings.landing)
    land_odd_files(landing)
    refreshes = [replay(workspace, tick, number, progress) for number, tick in enumerate(ticks, start=1)]
    agreed = reconcile_all(workspace, lambda view: progress(f"reconciling {view}"))
    refused = refused_odd_files(workspace.lake)
    remove_odd_files(landing)
    summary = {
        "source": source,
        "home": str(workspace.settings.home),
        "refreshes": refreshes,
        "refused": refused,
        "reconcile": agreed,
        "answer": answer_of(workspace, ticks, progress),
        "seconds": round(time.monotonic() - began, 1),
    }
    path = workspace.settings.home / "demo" / "summary.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    return summary


def replay(workspace: Workspace, tick: Tick, number: int, progress: Progress) -> Json:
    """Land what is new at one tick and refresh to it; adds what a push of every row would have written."""
    land_tick(tick, Path(workspace.settings.landing))
    # Slots are where a file's events lie: the last ones of a history that goes up to now are still to come.
    done = refresh(
        workspace, as_of=tick.as_of, any_as_of=True, progress=lambda stage: progress(f"refresh {number}: {stage}")
    )
    figures = refresh_json(done)
    for name, view in figures["views"].items():
        definition = workspace.definitions.batch_views[name]
        everything = view["gold_rows"] if definition.online_when is None else online_count(workspace, definition)
        view["full_push"] = everything
        view["percent"] = round(100 * (view["pushed"] + view["removed"]) / max(1, view["full_push"]), 2)
    return figures


def online_count(workspace: Workspace, view: BatchView) -> int:
    return online_rows(workspace.lake.read(view.table), view).count()


def answer_of(workspace: Workspace, ticks: list[Tick], progress: Progress) -> Json:
    """Ask for the documents that were touched last, as the actor who touched the most of them; then change what is answered."""
    lines = [line for tick in ticks for line in tick.events]
    recent = [event for event in map(readable, lines[-20 * CANDIDATES :]) if event]
    documents = list(dict.fromkeys(event["document_id"] for event in reversed(recent)))[:CANDIDATES]
    actor, _ = Counter(event["actor_id"] for event in recent).most_common(1)[0]
    entities = {"actor_id": [actor] * len(documents), "document_id": documents}
    query = {"feature_service": "ranker", "entities": entities}
    progress("asking the reader")
    with ranking.reader(workspace.settings) as address:
        answer, latency = ranking.ask(address, query)
        progress("starting the stream")
        began = time.monotonic()
        with following(workspace):
            caught_up = time.monotonic() - began
            progress("opening a document")
            opened = open_document(workspace, address, entities)
        scored = write_score(address, query, documents[0])
    names, results = answer["metadata"]["feature_names"], answer["results"]
    columns = {name: result["values"] for name, result in zip(names, results, strict=True)}
    found = sum(status == "PRESENT" for result in results for status in result["statuses"])
    return {
        "actor": actor,
        "candidates": len(documents),
        "features": len(names) - 2,
        "values_present": found,
        "latency": latency,
        "views": answer["metadata"]["views"],
        "watermark": to_text(ticks[-1].as_of),
        "opened": opened | {"caught_up_seconds": round(caught_up, 1)},
        "judged": scored,
        "rows": [{name: values[row] for name, values in columns.items()} for row in range(min(5, len(documents)))],
    }


def readable(line: bytes) -> Json | None:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    ids = isinstance(event, dict) and all(isinstance(event.get(key), str) for key in ("document_id", "actor_id"))
    return event if ids else None
