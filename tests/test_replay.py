"""Replays: after every refresh, gold is what a computation from scratch gives, and the store is what gold gives."""

import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from pyspark.sql import SparkSession

from sinks.reconcile import GoldSource, Reconciled, reconcile
from tailrace.events.organisation import Organisation, generate
from tailrace.schemas.slots import GRID
from tailrace.settings import Settings
from tailrace.workspace.refresh import refresh
from tailrace.workspace.workspace import Workspace

END = datetime(2026, 3, 10, 12, tzinfo=UTC)
LENGTHS = {"15m": 15, "1h": 60, "24h": 24 * 60, "7d": 7 * 24 * 60, "30d": 30 * 24 * 60, "total": None}
EDITS = ("create", "edit")
# Those over interactions, which are what lands here.
VIEWS = ("actor_document_affinity", "actor_activity", "document_activity")
STEPS = int(os.environ.get("REPLAY_STEPS", "40"))
JUMPS = [1, 100, 4]  # slots from one refresh to the next
LATE = CORRECTED = 5  # events that come late, and events told again, before each refresh

Event = dict[str, Any]
Row = dict[str, Any]


def from_scratch(events: Iterable[Event], as_of: datetime) -> dict[str, dict[tuple[str, ...], Row]]:
    """The three views over interactions, written down once more without Spark."""
    happened = [event for event in events if event["occurred_at"] <= as_of]
    views: dict[str, dict[tuple[str, ...], Row]] = {}
    affinity = {}
    for key, own in grouped(happened, "actor_id", "document_id").items():
        row: Row = {f"events_{w}": len(within(own, w, as_of)) for w in ("24h", "7d", "30d", "total")}
        edits = [event for event in within(own, "30d", as_of) if event["event_type"] in EDITS]
        affinity[key] = row | {"edits_30d": len(edits), "last_event_at": latest(own)}
    views["actor_document_affinity"] = affinity
    actors = {}
    for key, own in grouped(happened, "actor_id").items():
        row = {f"events_{w}": len(within(own, w, as_of)) for w in ("24h", "7d", "30d")}
        row |= {f"distinct_documents_{w}": distinct(own, w, as_of, "document_id") for w in ("7d", "30d")}
        actors[key] = row | {"last_event_at": latest(own)}
    views["actor_activity"] = actors
    documents = {}
    for key, own in grouped(happened, "document_id").items():
        row = {}
        for window in LENGTHS:
            inside = within(own, window, as_of)
            row[f"events_{window}"] = len(inside)
            row[f"views_{window}"] = sum(event["event_type"] == "view" for event in inside)
            row[f"edits_{window}"] = sum(event["event_type"] in EDITS for event in inside)
        row |= {f"distinct_actors_{w}": distinct(own, w, as_of, "actor_id") for w in ("24h", "7d", "30d")}
        newest = max(own, key=lambda event: (event["occurred_at"], event["event_id"]))
        row |= {"first_event_at": min(event["occurred_at"] for event in own), "last_event_at": latest(own)}
        row["last_edit_at"] = latest([event for event in own if event["event_type"] in EDITS])
        documents[key] = row | {"is_deleted": newest["event_type"] == "delete"}
    views["document_activity"] = documents
    return views


def grouped(events: Iterable[Event], *keys: str) -> dict[tuple[str, ...], list[Event]]:
    groups: dict[tuple[str, ...], list[Event]] = defaultdict(list)
    for event in events:
        groups[tuple(event[key] for key in keys)].append(event)
    return groups


def within(events: list[Event], window: str, as_of: datetime) -> list[Event]:
    minutes = LENGTHS[window]
    if minutes is None:
        return events
    return [event for event in events if event["occurred_at"] > as_of - timedelta(minutes=minutes)]


def distinct(events: list[Event], window: str, as_of: datetime, of: str) -> int:
    return len({event[of] for event in within(events, window, as_of)})


def latest(events: list[Event]) -> datetime | None:
    return max((event["occurred_at"] for event in events), default=None)


def gold_rows(home: Workspace, view: str) -> dict[tuple[str, ...], Row]:
    definition = home.definitions.batch_views[view]
    rows: dict[tuple[str, ...], Row] = {}
    for row in home.lake.read(definition.table).select(*definition.keys, *definition.feature_names).collect():
        values: Row = {
            name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
            for name, value in row.asDict().items()
        }
        rows[tuple(values.pop(key) for key in definition.keys)] = values
    return rows


def land(settings: Settings, name: str, events: list[Event]) -> None:
    folder = Path(settings.landing) / "events"
    folder.mkdir(parents=True, exist_ok=True)
    lines = b"".join(orjson.dumps(event, option=orjson.OPT_UTC_Z) + b"\n" for event in events)
    (folder / f".{name}").write_bytes(lines)
    (folder / f".{name}").rename(folder / f"{name}.jsonl")


def small_organisation() -> list[Event]:
    organisation = Organisation(documents=40, actors=8, days=33, seed=5, end=END, events_per_day=120)
    events = generate(organisation)[1]
    return [event | {"occurred_at": datetime.fromisoformat(event["occurred_at"])} for event in events]


def corrected(event: Event, choose: random.Random) -> Event:
    """A re-delivery with another time, actor or type."""
    change = choose.choice(
        [
            {"occurred_at": event["occurred_at"] - timedelta(hours=choose.randint(0, 200))},
            {"actor_id": "corrected"},
            {"event_type": choose.choice(["edit", "delete", "view"])},
        ]
    )
    return event | change


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_every_refresh_of_a_replay_gives_what_a_computation_from_scratch_gives(
    spark: SparkSession, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tailrace.lake.maintenance.SMALL_FILES", 3)  # so that tables are compacted along the way
    seed = random.randrange(10**6)
    choose = random.Random(seed)
    home = Workspace(settings=make_settings(), views=VIEWS)
    events = small_organisation()
    start = END - STEPS * GRID
    late = choose.sample([event for event in events if event["occurred_at"] <= start], LATE * STEPS)
    arrived = {event["event_id"]: event for event in events if event["occurred_at"] <= start and event not in late}
    land(home.settings, "history", list(arrived.values()))
    jumps = choose.choices(JUMPS, k=STEPS)
    as_of = start
    for step in range(STEPS + 1):
        if step:
            as_of += GRID * jumps[step - 1]
            new = [event for event in events if event["event_id"] not in arrived and event["occurred_at"] <= as_of]
            batch = [event for event in new if event not in late] + [late.pop() for _ in range(LATE)]
            batch += [corrected(event, choose) for event in choose.sample(sorted_by_id(arrived), CORRECTED)]
            land(home.settings, f"step-{step:02}", batch)
            arrived |= {event["event_id"]: event for event in batch}
        report = refresh(home, as_of=as_of)

        expected = from_scratch(arrived.values(), as_of)
        for view, rows in expected.items():
            assert gold_rows(home, view) == rows, f"seed {seed}, step {step}, {view}"
            assert report.refreshed[view].gold_rows == len(rows)
    for view, rows in expected.items():
        agreed = reconcile(GoldSource(lake=home.lake, address=home.store, view=home.definitions.batch_views[view]))[
            view
        ]
        assert agreed == Reconciled(compared=len(rows)), f"seed {seed}, {view}"


def sorted_by_id(arrived: dict[str, Event]) -> list[Event]:
    return [arrived[event_id] for event_id in sorted(arrived)]
