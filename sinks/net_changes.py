"""What a push writes: gold's change feed folded to one decision per key."""

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from features.language import FeatureView
from lake.history import BEFORE_IMAGES

# What becomes of a key.
WRITE = "write"
REMOVE = "remove"
SUPPRESS = "suppress"


def item_key(entities: Iterable[tuple[str, str]]) -> Column:
    """`online.keys.item_keys` as a column, for entities given as (name, key column)."""
    ordered = sorted(entities)
    parts = [part for _, key in ordered for part in (F.length(key).cast("string"), F.lit(":"), F.col(key))]
    return F.concat(F.lit("+".join(name for name, _ in ordered) + "|"), *parts)


def key_of(view: FeatureView) -> Column:
    return item_key((entity.name, entity.key) for entity in view.entities)


def online_rows(gold: DataFrame, view: FeatureView) -> DataFrame:
    """The rows of gold that the store holds, as `item_key` and features."""
    return gold.where(is_online(view)).select(key_of(view).alias("item_key"), *view.feature_names)


def is_online(view: FeatureView) -> Column:
    """`online_when`, a null counting as not met."""
    return F.coalesce(F.expr(view.online_when), F.lit(False)) if view.online_when else F.lit(True)


def net_changes(changes: DataFrame, view: FeatureView, *, suppress: bool) -> DataFrame:
    """Fold a change feed to `item_key, action` and features, one row per key that changed.

    The last image decides whether the key is online; the first tells what the store held at the cursor.
    Equal images are suppressed where `suppress` allows it, which it does only if no earlier push was left open.
    """
    features = F.struct(*view.feature_names)
    image = F.struct(
        F.when(is_online(view), features).alias("row"), F.col("_change_type").isin(*BEFORE_IMAGES).alias("is_before")
    )
    # Within a commit, what was there before comes before what is there after.
    order = F.struct("_commit_version", ~F.col("_change_type").isin(*BEFORE_IMAGES))
    folded = changes.groupBy(key_of(view).alias("item_key")).agg(
        F.min_by(image, order).alias("first"), F.max_by(image, order).alias("last")
    )
    was = F.when(F.col("first.is_before"), F.col("first.row"))
    now = F.when(~F.col("last.is_before"), F.col("last.row"))
    unchanged = F.lit(suppress) & was.eqNullSafe(now)
    action = F.when(unchanged, SUPPRESS).when(now.isNotNull(), WRITE).otherwise(REMOVE)
    values = [now[name].alias(name) for name in view.feature_names]
    return folded.select("item_key", action.alias("action"), *values)


def snapshot_changes(gold: DataFrame, stored: DataFrame, view: FeatureView) -> DataFrame:
    """Every online row of gold as a write, and every other key that the store holds as a removal."""
    rows = online_rows(gold, view)
    writes = rows.withColumn("action", F.lit(WRITE))
    ghosts = stored.select("item_key").join(rows.select("item_key"), on="item_key", how="left_anti")
    return writes.unionByName(ghosts.withColumn("action", F.lit(REMOVE)), allowMissingColumns=True)
