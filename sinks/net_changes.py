"""What of gold a push writes: its net changes since the cursor, the breaker that stops too many, and the decision per key."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sinks.protocol import CHANGES, FIRST_LOAD, NEW_FEATURES, SUPPRESS, WRITE, FindChanges, Plan, decide
from sinks.store_values import stored_values
from tailrace.definitions import BatchView, FeatureView
from tailrace.errors import DataError
from tailrace.lake.delta_log import BEFORE_IMAGES, Pin
from tailrace.lake.session import Materialized, is_met, materialized, spark_schema
from tailrace.lake.tables import Lake, LakeError
from tailrace.schemas import tables
from tailrace.schemas.slots import to_micros
from tailrace.store.address import Address
from tailrace.store.arrow import column_values
from tailrace.store.codec import Codec, meaning
from tailrace.store.control import Cursor

LARGEST_SHARE = 0.4  # of the online rows
SMALLEST_VIEW = 1_000  # online rows from which on a share means anything
UNKNOWN = 0
DECIDED = pa.schema(
    [
        ("item_key", pa.string()),
        ("value", pa.binary()),
        ("action", pa.string()),
        ("difference", pa.string()),
        ("images", pa.int64()),
    ]
)
# In what a key's value differs from the one that the store is known to hold.
INSERT = "insert"
UPDATE = "update"
REMOVAL = "removal"
Packed = list[bytes | None]


class BreakerOpen(DataError):
    """A push would update or remove more of a view than happens by itself; the message says how much, and what to do."""


def check_share(view: str, plan: Plan, counts: Mapping[str, int], online_rows: Callable[[], int]) -> None:
    """Raise `BreakerOpen` where too many of the rows that were online would be updated or removed.

    `online_rows` counts those that gold has now; it is asked only where the changes could be too many.
    """
    changes = counts["updates"] + counts["removals"]
    if plan.how == FIRST_LOAD or plan.why == NEW_FEATURES or changes <= LARGEST_SHARE * SMALLEST_VIEW:
        return
    were_online = online_rows() - counts["inserts"] + counts["removals"]
    if were_online >= SMALLEST_VIEW and changes > LARGEST_SHARE * were_online:
        raise BreakerOpen(
            f"view {view}: {counts['updates']:,} of {were_online:,} online rows would change and "
            f"{counts['removals']:,} would go, more than {LARGEST_SHARE:.0%}; nothing was written. If that is right, "
            "push again with --allow-large-change and a reason; if not, repair the data first"
        )


def newest(lake: Lake, view: BatchView) -> tuple[Cursor, int]:
    """Gold's newest version as a cursor, and its as-of in microseconds."""
    pin = lake.pin(view.table)
    state = lake.state(view.table, version=pin.version)
    if state is None:
        raise LakeError(f"{view.table.full_name} has no refresh state; run `tailrace refresh`")
    if not state.exclusive:
        raise LakeError(
            f"{view.table.full_name} was written by two refreshes at once; run `tailrace refresh`, which repairs it"
        )
    cursor = Cursor(
        table_id=pin.table_id, version=pin.version, commit=pin.commit, fingerprint=view.publication_fingerprint
    )
    return cursor, to_micros(datetime.fromisoformat(state.values["as_of"]))


def definition_at(lake: Lake, view: BatchView, version: int) -> str | None:
    """The fingerprint of the definition that gold was computed by at a version; None where no commit says so."""
    state = lake.state(view.table, version=version)
    return state.values.get("definition") if state else None


def has_version(lake: Lake, view: BatchView, cursor: Cursor) -> bool:
    """Whether gold still has the version of a cursor, and as the same commit."""
    return lake.pin(view.table, version=cursor.version) == pin_of(cursor)


def pin_of(cursor: Cursor) -> Pin:
    """The version of gold that a cursor names."""
    return Pin(cursor.table_id, cursor.version, cursor.commit)


def item_key(entities: Iterable[tuple[str, str]]) -> Column:
    """`tailrace.store.keys.item_keys` as a column, for entities given as (name, key column).

    Spark writes numbers and dates as `tailrace.schemas.ids` does.
    """
    ordered = sorted(entities)
    texts = [F.col(key).cast("string") for _, key in ordered]
    parts = [part for text in texts for part in (F.length(text).cast("string"), F.lit(":"), text)]
    return F.concat(F.lit("+".join(name for name, _ in ordered) + "|"), *parts)


def key_of(view: FeatureView) -> Column:
    """The item key of each row of a view, as a column."""
    return item_key((entity.name, entity.key) for entity in view.entities)


def is_online(view: FeatureView) -> Column:
    """`online_when`; a row of which it cannot be worked out is not online."""
    return is_met(view.online_when) if view.online_when else F.lit(True)


def online_rows(gold: DataFrame, view: FeatureView) -> DataFrame:
    """The rows of gold that the store holds, as `item_key, now`."""
    features = F.struct(*view.feature_names).alias("now")
    return gold.where(is_online(view)).select(key_of(view).alias("item_key"), features)


def rows_to_decide(lake: Lake, address: Address, view: BatchView, step: FindChanges) -> DataFrame:
    """The rows that a plan asks for, as `item_key, was, now, images`."""
    plan, since, until = step.plan, step.since, step.until
    gold = lake.read(view.table, version=until.version)
    if plan.how == FIRST_LOAD:
        return first_load(gold, view)
    if plan.how == CHANGES and since is not None:
        if since == until:  # an open push is all there is
            return spread_by_key(rows_of_keys(plan.open_keys, gold, view))
        rows = net_changes(lake.changes(view.table, start=since.version + 1, end=until.version), view)
    else:
        rows = snapshot(gold, stored_values(lake.spark, address, view.name), view)
    return rows if plan.open_keys is None else with_open_keys(rows, plan.open_keys, gold, view)


def first_load(gold: DataFrame, view: FeatureView) -> DataFrame:
    """Every online row of gold, for a store that has nothing."""
    nothing = F.when(F.lit(False), F.col("now")).alias("was")
    return spread_by_key(online_rows(gold, view)).select("item_key", nothing, "now", F.lit(1).alias("images"))


def net_changes(changes: DataFrame, view: FeatureView) -> DataFrame:
    """Fold a change feed to one row per key that changed.

    The last image is what is online now; the first, what the store had at the cursor. `sinks.protocol.fold` says the
    same for one key in plain Python.
    """
    is_before = F.col("_change_type").isin(*BEFORE_IMAGES)
    image = F.struct(F.when(is_online(view), F.struct(*view.feature_names)).alias("row"), is_before.alias("is_before"))
    # Within a commit, what was there before comes before what is there after.
    order = F.struct("_commit_version", ~is_before)
    images = spread_by_key(changes.select(key_of(view).alias("item_key"), image.alias("image"), order.alias("order")))
    folded = images.groupBy("item_key").agg(
        F.min_by("image", "order").alias("first"),
        F.max_by("image", "order").alias("last"),
        F.count(F.lit(1)).alias("images"),
    )
    was = F.when(F.col("first.is_before"), F.col("first.row"))
    now = F.when(~F.col("last.is_before"), F.col("last.row"))
    return folded.select("item_key", was.alias("was"), now.alias("now"), "images")


def snapshot(gold: DataFrame, stored: DataFrame, view: FeatureView) -> DataFrame:
    """Every online row of gold next to what the store has, and every other key of the store."""
    was = stored.select("item_key", F.col("value").alias("was"))
    both = online_rows(gold, view).join(was, on="item_key", how="full_outer")  # unique per key on both sides
    return spread_by_key(both.select("item_key", "was", "now", F.lit(1).alias("images")))


def with_open_keys(rows: DataFrame, keys: DataFrame, gold: DataFrame, view: FeatureView) -> DataFrame:
    """The rows, and those of further keys as gold has them now, what the store has of them being unknown.

    In one pass over the rows: two reads of a store that late writes still reach would be of two moments.
    """
    in_gold = online_rows(gold, view).withColumnRenamed("now", "in_gold")
    found = rows.join(keys, on="item_key", how="full_outer").join(in_gold, on="item_key", how="left")
    now = F.when(F.col("images").isNull(), F.col("in_gold")).otherwise(F.col("now"))
    return spread_by_key(
        found.select("item_key", "was", now.alias("now"), F.coalesce("images", F.lit(UNKNOWN)).alias("images"))
    )


def rows_of_keys(keys: DataFrame, gold: DataFrame, view: FeatureView) -> DataFrame:
    """Some keys as gold has them, what the store has of them being unknown."""
    found = keys.join(online_rows(gold, view), on="item_key", how="left")
    nothing = F.when(F.lit(False), F.col("now")).alias("was")
    return found.select("item_key", nothing, "now", F.lit(UNKNOWN).alias("images"))


def spread_by_key(rows: DataFrame) -> DataFrame:
    """The rows by key over all cores: what comes next, packing and writing, costs more than the shuffle."""
    return rows.repartition(rows.sparkSession.sparkContext.defaultParallelism, "item_key")


def decided(rows: DataFrame, view: FeatureView, *, suppress: bool, as_of: int) -> DataFrame:
    """Rows of `rows_to_decide` as `DECIDED`: the packed value where one is written, and what becomes of the key.

    `as_of` is in microseconds.
    """
    name, features = view.name, view.features

    def decide_partition(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        pack = packer(name, features, as_of=as_of)
        for batch in batches:
            if batch.num_rows:
                yield decide_batch(batch, pack, suppress=suppress)

    return rows.select("item_key", "was", "now", "images").mapInArrow(decide_partition, spark_schema(DECIDED))


def packer(view: str, features: tuple[tables.Column, ...], *, as_of: int) -> Callable[[pa.Array], Packed]:
    """Packs a column of structs; one that is packed already is passed through."""
    codec = Codec(view, features)

    def pack(column: pa.Array) -> Packed:
        if pa.types.is_binary(column.type):
            packed: Packed = column.to_pylist()
            return packed
        columns = zip(column.flatten(), features, strict=True)
        values = codec.encode([column_values(array, feature) for array, feature in columns], as_of=as_of)
        there = column.is_valid().to_pylist()
        return [value if valid else None for value, valid in zip(values, there, strict=True)]

    return pack


def decide_batch(batch: pa.RecordBatch, pack: Callable[[pa.Array], Packed], *, suppress: bool) -> pa.RecordBatch:
    """Decide a batch of rows: `item_key, was, now, images` becomes `DECIDED`."""
    was, now = pack(batch.column("was")), pack(batch.column("now"))
    actions = [decide(before, after, suppress=suppress) for before, after in zip(was, now, strict=True)]
    values = [value if action == WRITE else None for value, action in zip(now, actions, strict=True)]
    images = batch.column("images").to_pylist()
    differences = [
        None if count == UNKNOWN else difference(before, after)
        for before, after, count in zip(was, now, images, strict=True)
    ]
    columns = [batch.column("item_key"), values, actions, differences, batch.column("images").cast(pa.int64())]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, DECIDED, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=DECIDED)


def difference(was: bytes | None, now: bytes | None) -> str | None:
    """In what the store's value and gold's differ; None where they mean the same, or that is not known."""
    if was is None:
        return None if now is None else INSERT
    if now is None:
        return REMOVAL
    return None if meaning(was) == meaning(now) else UPDATE


def materialized_decisions(rows: DataFrame) -> AbstractContextManager[Materialized]:
    """Decided rows, computed once and counted; a push reads them for the history and for the store."""
    action, kind = F.col("action"), F.col("difference")
    return materialized(
        rows,
        totals={"images": F.col("images")},
        suppressed=action == SUPPRESS,
        inserts=kind == INSERT,
        updates=kind == UPDATE,
        removals=kind == REMOVAL,
    )
