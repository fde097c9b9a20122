"""A refresh of gold and the online store by what changed, next to the naive way and a plain scan, in one run.

(a) is this product's refresh with its push. (b) computes every view anew, overwrites it and pushes every row. (c) reads
all columns of gold once. All start from the same prepared silver and use the same store settings.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from bench.prepared_history import START, STEPS, History, land_step, write_history
from jobs.gold import refresh as gold
from jobs.gold.compute import compute
from jobs.gold.refresh import as_of_in
from sinks.net_changes import decided, first_load, newest
from sinks.push import push_views
from sinks.store_values import write_changes
from tailrace.definitions import Definitions, FeatureView
from tailrace.lake import storage
from tailrace.lake.tables import AT_ONCE, Lake
from tailrace.schemas.slots import GRID, to_micros
from tailrace.store.address import Address, with_store
from tailrace.store.control import Cursor
from tailrace.store.lease import Sequenced, leased
from tailrace.store.writer import Outcome

FULLY_UP_TO = 1_500_000  # rows; of more, a share of `SAMPLE` is pushed and the time extrapolated, which the figures say
SAMPLE = 1_000_000
GRAIN = 1000

Figures = dict[str, Any]
Progress = Callable[[str], None]

MEASURED = 3  # refreshes, after one that warms up


def refresh_naively(lake: Lake, address: Address, definitions: Definitions, *, as_of: datetime) -> dict[str, Any]:
    """Compute, overwrite and push: into tables of its own, which go afterwards, and a store table of its own, which stays."""
    pins = {table.full_name: lake.pin(table) for table in definitions.silver_tables.values()}
    root = f"{lake.root}-naive"
    gold: dict[str, DataFrame] = {}
    began = time.monotonic()
    for view in definitions.batch_views.values():
        rows = compute(lake, definitions, view, pins, as_of=as_of, base_rows=gold)
        path = f"{root}/{view.name}"
        rows.write.format("delta").mode("overwrite").save(path)
        gold[view.name] = lake.spark.read.format("delta").load(path)
    gold_seconds = time.monotonic() - began
    lake_bytes = sum(file.bytes for file in storage.list_files(lake.spark, root))
    own_store = replace(address, table=f"{address.table}-naive")
    share = share_pushed(sum(rows.count() for rows in gold.values()))

    def push(view: FeatureView) -> Outcome:
        return push_share(gold[view.name], view, own_store, as_of=as_of, share=share)

    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pushes = list(pool.map(push, definitions.batch_views.values()))
    seconds = time.monotonic() - began
    pushed, store_bytes = (sum(getattr(push, name) for push in pushes) for name in ("written", "bytes"))
    storage.delete(lake.spark, root)
    scale = GRAIN / share
    return {
        "seconds": gold_seconds + seconds * scale,
        "gold_seconds": gold_seconds,
        "push_seconds": seconds * scale,
        "push_extrapolated_from_rows": pushed if share < GRAIN else None,
        "pushed": round(pushed * scale),
        "lake_bytes": lake_bytes,
        "bytes": lake_bytes + round(store_bytes * scale),
    }


def share_pushed(rows: int) -> int:
    """How many in `GRAIN` of so many rows are pushed."""
    return GRAIN if rows <= FULLY_UP_TO else SAMPLE * GRAIN // rows


def push_share(
    rows: DataFrame,
    view: FeatureView,
    address: Address,
    *,
    as_of: datetime,
    share: int,
    cursor: Cursor | None = None,
) -> Outcome:
    """Push a share in `GRAIN` of a view's online rows, and leave the cursor, if given one, as if all had been."""
    chosen = rows.where(F.pmod(F.xxhash64(*view.keys), F.lit(GRAIN)) < share)
    watermark = to_micros(as_of)
    with leased(address, view.name, seconds=address.lease_seconds) as found:
        push = Sequenced(view=view.name, sequence=found.sequence, lease_seconds=address.lease_seconds)
        outcome = write_changes(decided(first_load(chosen, view), view, suppress=False, as_of=watermark), address, push)
        if cursor is not None:
            with_store(
                address,
                lambda opened: opened.close_push(
                    view.name,
                    sequence=found.sequence,
                    cursor=cursor,
                    watermark=watermark,
                    features=view.features,
                ),
            )
    return outcome


@dataclass(frozen=True, kw_only=True)
class RefreshBench:
    """A lake and a store of the bench's own, and the shipped definitions."""

    lake: Lake
    address: Address
    definitions: Definitions
    history: History
    progress: Progress

    def run(self) -> Figures:
        step = self.prepare()
        runs = [self.measure(step + number) for number in range(MEASURED + 1)][1:]
        run = sorted(runs, key=lambda one: one["seconds"])[len(runs) // 2]
        self.progress("a plain scan")
        scan = timed(self.scan)
        self.progress("the naive way")
        as_of = START + (step + MEASURED) * GRID
        naive = refresh_naively(self.lake, self.address, self.definitions, as_of=as_of)
        rows = sum(view["gold_rows"] for view in run["views"].values())
        return {
            "documents": self.history.documents,
            "gold_rows": rows,
            "changed_fraction": run["changed"] / rows,
            "incremental": run,
            "incremental_seconds_all": [one["seconds"] for one in runs],
            "naive": naive,
            "scan_seconds": scan,
            "ratio": naive["seconds"] / run["seconds"],
            "rows_ratio": naive["pushed"] / max(1, run["pushed"]),
            "bytes_ratio": naive["bytes"] / max(1, run["bytes"]),
            "scan_ratio": run["gold_seconds"] / scan,
            "peak_rss_bytes": peak_memory(),
        }

    def prepare(self) -> int:
        """Bring gold and store to a step from which enough steps are left; returns the next step."""
        standing = self.standing()
        if standing is None or standing + MEASURED + 1 > STEPS:
            self.progress(f"writing a history of {self.history.documents:,} documents")
            storage.delete(self.lake.spark, self.lake.root)
            write_history(self.lake, self.history)
            standing = 0
            self.progress("the first refresh")
            gold.run(self.lake, self.definitions, as_of=START)
            self.progress("the first push")
            self.load()
        return standing + 1

    def load(self) -> None:
        """The first push: of all rows, or of the share that the naive way is measured with."""
        views = self.definitions.batch_views.values()
        share = share_pushed(sum(self.lake.read(view.table).count() for view in views))
        for view in views:
            rows, (cursor, _) = self.lake.read(view.table), newest(self.lake, view)
            push_share(rows, view, self.address, as_of=START, share=share, cursor=cursor)

    def standing(self) -> int | None:
        """The step that every view has reached; None before the first, or where they differ."""
        states = [self.lake.state(view.table) for view in self.definitions.batch_views.values()]
        reached = {as_of_in(state) if state else None for state in states}
        first = reached.pop()
        return None if reached or first is None else (first - START) // GRID

    def measure(self, step: int) -> Figures:
        """Land one step, then refresh and push it; only the latter is timed."""
        self.progress(f"refresh {step}")
        land_step(self.lake, self.history, step)
        before = self.files()
        figures = self.refresh_and_push(START + step * GRID)
        figures["lake_bytes"] = sum(size for name, size in self.files().items() if name not in before)
        figures["bytes"] = figures["lake_bytes"] + figures["store_bytes"]
        return figures

    def refresh_and_push(self, as_of: datetime) -> Figures:
        began = time.monotonic()
        refreshed = gold.run(self.lake, self.definitions, as_of=as_of)
        gold_seconds = time.monotonic() - began
        views = self.definitions.batch_views.values()
        pushed = push_views(self.lake, self.address, views)
        seconds = time.monotonic() - began
        return {
            "seconds": seconds,
            "gold_seconds": gold_seconds,
            "push_seconds": seconds - gold_seconds,
            "changed": sum(view.changed for view in refreshed.values()),
            "pushed": sum(view.pushed + view.removed for view in pushed.values()),
            "store_bytes": sum(view.bytes for view in pushed.values()),
            "views": {
                name: asdict(refreshed[name]) | {"push": asdict(pushed[name])} for name in self.definitions.batch_views
            },
        }

    def scan(self) -> None:
        for view in self.definitions.batch_views.values():
            rows = self.lake.read(view.table)
            rows.agg(*(F.max(column) for column in rows.columns)).collect()

    def files(self) -> dict[str, int]:
        return {file.name: file.bytes for file in storage.list_files(self.lake.spark, f"{self.lake.root}/gold")}


def timed(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def peak_memory() -> int:
    """The most memory in bytes that this process and its JVM ever had."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(peak_of(process.pid) for process in processes)


def peak_of(pid: int) -> int:
    """Linux keeps the peak of each process; elsewhere what it holds now has to do."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return int(psutil.Process(pid).memory_info().rss)
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
