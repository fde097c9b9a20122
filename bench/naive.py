"""The naive way: compute every view anew, overwrite it, push every row."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.gold.compute import compute
from sinks.decisions import decided
from sinks.lease import leased, with_client
from sinks.net_changes import first_load
from sinks.rows import Address, Outcome, Sequenced
from sinks.writer import write_changes
from tailrace.definitions import Definitions, FeatureView
from tailrace.lake import storage
from tailrace.lake.tables import AT_ONCE, Lake
from tailrace.schemas import silver
from tailrace.schemas.slots import to_micros
from tailrace.store.control import Cursor
from tailrace.store.dynamodb.control_item import close_push

FULLY_UP_TO = 1_500_000  # rows; of more, a share of `SAMPLE` is pushed and the time extrapolated, which the figures say
SAMPLE = 1_000_000
GRAIN = 1000


def refresh_naively(lake: Lake, store: Address, definitions: Definitions, *, as_of: datetime) -> dict[str, Any]:
    """Compute, overwrite and push: into tables of its own, which go afterwards, and a store table of its own, which stays."""
    pins = {table.full_name: lake.pin(table) for table in silver.TABLES}
    root = f"{lake.root}-naive"
    gold: dict[str, DataFrame] = {}
    began = time.monotonic()
    for view in definitions.batch_views.values():
        rows = compute(lake, view, pins, as_of=as_of, finer=gold)
        path = f"{root}/{view.name}"
        rows.write.format("delta").mode("overwrite").save(path)
        gold[view.name] = lake.spark.read.format("delta").load(path)
    gold_seconds = time.monotonic() - began
    lake_bytes = sum(file.bytes for file in storage.list_files(lake.spark, root))
    own_store = replace(store, table=f"{store.table}-naive")
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
    store: Address,
    *,
    as_of: datetime,
    share: int,
    cursor: Cursor | None = None,
) -> Outcome:
    """Push a share in `GRAIN` of a view's online rows, and leave the cursor, if given one, as if all had been."""
    chosen = rows.where(F.pmod(F.xxhash64(*view.keys), F.lit(GRAIN)) < share)
    watermark = to_micros(as_of)
    with leased(store, view.name, seconds=store.lease_seconds) as found:
        push = Sequenced(view=view.name, sequence=found.sequence, lease_seconds=store.lease_seconds)
        outcome = write_changes(decided(first_load(chosen, view), view, suppress=False, as_of=watermark), store, push)
        if cursor is not None:
            close = partial(
                close_push,
                view=view.name,
                sequence=found.sequence,
                cursor=cursor,
                watermark=watermark,
                features=view.features,
            )
            with_client(store, close)
    return outcome
