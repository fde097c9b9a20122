"""Compare what bronze knows of direct writes with the online store, key by key, while writes go on.

What was written in the last seconds is in the log and not in bronze. So what differs is looked at again once the log has
been landed and loaded, and counts if the store has had the same value both times.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sinks.decisions import INSERT, REMOVAL, UPDATE
from sinks.direct_writes import newest_of_each_key, write_again
from sinks.reconcile import Reconciled, Told, say_nothing
from sinks.rows import Address
from sinks.store_scan import stored_values
from tailrace.definitions import FeatureView
from tailrace.lake.held import ROWS, held
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.store.direct.writer import LOOK_SECONDS, SEGMENT_SECONDS

LANDED_SECONDS = 2 * (SEGMENT_SECONDS + LOOK_SECONDS)
EXPECTED = "item_key string, value binary"


def reconcile_direct(
    lake: Lake,
    address: Address,
    view: FeatureView,
    *,
    load: Callable[[], object],
    repair: bool = False,
    told: Told = say_nothing,
) -> Reconciled:
    """Compare, and on `repair` write what is missing or different as bronze has it; `load` brings bronze up to date.

    A value that bronze knows nothing of stays, and is told as a ghost: it may be all there is of a write.
    """
    told("comparing all")
    with held(differing(lake, address, view)) as suspects:
        compared = expected(lake, view).count()
        if not suspects.counts[ROWS]:
            return Reconciled(compared=compared)
        told(f"looking again at {suspects.counts[ROWS]:,} keys, once what is in the log has been landed")
        time.sleep(LANDED_SECONDS)
        load()
        before = suspects.frame.select("item_key", F.col("was").alias("was_before"))
        again = differing(lake, address, view).join(before, on="item_key", how="inner")
        counted = again.where("was <=> was_before").groupBy("difference").count().collect()
        kinds = {row["difference"]: row["count"] for row in counted}
    found = Reconciled(
        compared=compared, missing=kinds.get(INSERT, 0), ghost=kinds.get(REMOVAL, 0), different=kinds.get(UPDATE, 0)
    )
    if repair and found.differing:
        told("writing what bronze has")
        write_again(lake, address, view)
        return replace(found, repaired=found.missing + found.different)
    return found


def differing(lake: Lake, address: Address, view: FeatureView) -> DataFrame:
    """Keys whose values are not what bronze says, as `item_key, was, difference`."""
    now = expected(lake, view).select("item_key", F.col("value").alias("now"))
    was = stored_values(lake.spark, address, view.name).select("item_key", F.col("value").alias("was"))
    both = now.join(was, on="item_key", how="full").where("NOT (was <=> now)")
    kind = F.when(F.isnull("was"), INSERT).when(F.isnull("now"), REMOVAL).otherwise(UPDATE)
    return both.select("item_key", "was", kind.alias("difference"))


def expected(lake: Lake, view: FeatureView) -> DataFrame:
    """What the store should hold, as `item_key, value`; removed keys are not in it."""
    if not lake.exists(bronze.DIRECT_WRITES):
        return small_frame(lake.spark, [], EXPECTED)
    return newest_of_each_key(lake, view).where("value IS NOT NULL").select("item_key", "value")
