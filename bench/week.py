"""A week of refreshes on a small workspace: what each takes, how many files the tables come to, and a picture of both."""

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from tailrace.demo.events import Tick, empty_home, land_tick
from tailrace.events.busiest import occurred_at_of
from tailrace.events.organisation import Organisation, generate
from tailrace.lake.maintenance import health
from tailrace.lake.task_progress import Progress
from tailrace.schemas import bronze
from tailrace.schemas.slots import GRID, last_tick, to_text
from tailrace.settings import Settings
from tailrace.workspace.refresh import Report, refresh
from tailrace.workspace.resources import for_many_rows
from tailrace.workspace.workspace import Workspace

ORGANISATION = {"documents": 2_000, "actors": 100, "seed": 11}
BEFORE = 40  # days of events that are there when the week begins
REFRESHES_PER_DAY = 96
LOOK_EVERY = 8  # refreshes, and after the last; a look lists all files
PACED_BY = 24  # refreshes

Json = dict[str, Any]

FILES = {
    "log_files": "Delta log",
    "change_files": "change files",
    "data_files": "data files on disk",
    "deletion_vectors": "deletion vectors",
    "live_files": "data files in use",
}


def run_week(settings: Settings, *, refreshes: int, retention_days: float, progress: Progress) -> Json:
    """Refresh so many times in a home of its own, as fast as it goes; figures per refresh and in sum.

    `retention_days` are days of the simulation. They are turned into real time by the pace of the first refreshes, so
    that tables keep as many versions as in a real week.
    """
    own = replace(settings, home=settings.home / "week", **places(settings.home / "week"))
    workspace = Workspace(settings=replace(own, spark=for_many_rows(own.spark)))  # one JVM for all of them
    empty_home(workspace.settings)
    points = []
    began = time.monotonic()
    for number, tick in enumerate(ticks_of_week(refreshes)):
        land_tick(tick, Path(workspace.settings.landing))
        progress(f"refresh {number}")
        done = refresh(workspace, as_of=tick.as_of)
        if number == 0:
            began = time.monotonic()
            continue
        if number == PACED_BY:
            pace = (time.monotonic() - began) / number
            workspace.lake.retention = timedelta(seconds=pace * REFRESHES_PER_DAY * retention_days)
        looks = number % LOOK_EVERY == 0 or number == refreshes
        points.append(point_of(done, tick) | (look_at(workspace) if looks else {}))
    return summary_of(points) | {"refreshes": points}


def places(home: Path) -> Json:
    return {"landing": str(home / "landing"), "lake": str(home / "lake")}


def ticks_of_week(refreshes: int) -> Iterator[Tick]:
    """All that happened before, then what happened until each tick."""
    end = last_tick(datetime.now(UTC))
    start = end - refreshes * GRID
    days = BEFORE + -(-refreshes // REFRESHES_PER_DAY)
    documents, events = generate(Organisation(**ORGANISATION, days=days, end=end))
    by_tick: dict[datetime, list[bytes]] = {}
    for line in map(orjson.dumps, events):
        at = occurred_at_of(line)
        if at is not None:
            by_tick.setdefault(max(start, end - (end - at) // GRID * GRID), []).append(line)
    facts = [orjson.dumps(document) for document in documents]
    for number in range(refreshes + 1):
        as_of = start + number * GRID
        yield Tick(as_of=as_of, events=by_tick.get(as_of, []), documents=[] if number else facts)


def point_of(done: Report, tick: Tick) -> Json:
    return {
        "as_of": to_text(done.as_of),
        "seconds": round(done.seconds, 2),
        "events": len(tick.events),
        "changed": sum(view.changed for view in done.refreshed.values()),
        "pushed": sum(view.pushed + view.removed for view in done.pushed.values()),
        "maintained": sorted(done.maintained),
    }


def look_at(workspace: Workspace) -> Json:
    """How many files there are of each sort, and the bytes of all."""
    root = Path(workspace.settings.lake)
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")]
    sorts = Counter(sort_of(path) for path in files)
    views = (view.table for view in workspace.definitions.batch_views.values())
    landed = (table for feed in workspace.definitions.feeds for table in (feed.table, feed.silver) if table)
    live = [
        health(workspace.lake, table) for table in (*bronze.TABLES, *landed, *views) if workspace.lake.exists(table)
    ]
    return {
        "live_files": sum(one.files for one in live),
        "deleted_rows": sum(one.deleted_rows for one in live),
        "data_files": sorts["data"],
        "log_files": sorts["log"],
        "change_files": sorts["change"],
        "deletion_vectors": sorts["vector"],
        "bytes": sum(path.stat().st_size for path in files),
    }


def sort_of(path: Path) -> str:
    if "_delta_log" in path.parts:
        return "log"
    if "_change_data" in path.parts:
        return "change"
    return "vector" if path.suffix == ".bin" else "data"


def summary_of(points: list[Json]) -> Json:
    """Median seconds of the first and the last day and of refreshes that changed no row, and the files at most and last."""
    days = [points[:REFRESHES_PER_DAY], points[-REFRESHES_PER_DAY:]]
    looks = [point for point in points if "live_files" in point]
    return {
        "median_seconds_first_day": median_of(days[0]),
        "median_seconds_last_day": median_of(days[1]),
        "median_seconds_without_change": median_of([point for point in points if not point["changed"]]),
        "most": {name: max(look[name] for look in looks) for name in looks[0] if name not in points[0]},
        "last": {name: looks[-1][name] for name in looks[0] if name not in points[0]},
    }


def median_of(points: list[Json]) -> float | None:
    return round(statistics.median(point["seconds"] for point in points), 2) if points else None


def draw_week(points: list[dict[str, Any]], out: Path) -> None:
    """Write an SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "tailrace"
    from matplotlib import pyplot as plt

    days = [number / REFRESHES_PER_DAY for number in range(1, len(points) + 1)]
    looked = [(day, point) for day, point in zip(days, points, strict=True) if "live_files" in point]
    figure, (above, below) = plt.subplots(2, 1, figsize=(10, 7), sharex=True, layout="constrained")
    above.plot(days, [point["seconds"] for point in points], ".", markersize=3, color="tab:blue")
    for day, point in zip(days, points, strict=True):
        if point["maintained"]:
            above.axvline(day, color="tab:orange", alpha=0.25, linewidth=0.8)
    above.set_ylabel("seconds per refresh")
    above.set_ylim(bottom=0)
    above.set_title("A simulated week: 15-minute refreshes of all layers; orange: with maintenance")
    for name, label in FILES.items():
        below.plot([day for day, _ in looked], [point[name] for _, point in looked], label=label)
    below.set_ylabel("files, all tables")
    below.set_xlabel("day")
    below.set_ylim(bottom=0)
    below.legend(loc="upper left")
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
