"""The history of published values and of their schemas."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sinks.protocol import SUPPRESS
from tailrace.definitions import FeatureView
from tailrace.definitions.fingerprints import schema_fingerprint
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas import view_tables
from tailrace.schemas.slots import from_micros, to_micros
from tailrace.schemas.tables import Column, Type


def record(lake: Lake, view: FeatureView, changes: DataFrame, *, sequence: int, push: str, as_of: int) -> None:
    """Append what a push, which `push` names, is about to write."""
    table = view_tables.history_table(view.name)
    rows = changes.where(F.col("action") != SUPPRESS).select(
        F.lit(sequence).cast("bigint").alias("sequence"),
        "item_key",
        "value",
        F.lit(from_micros(as_of)).alias("as_of"),
        F.lit(datetime.now(UTC)).alias("recorded_at"),
        F.lit(None).cast("string").alias("outcome"),
        F.lit(None).cast("string").alias("backfill"),
        F.lit(push).alias("push"),
        F.lit(None).cast("timestamp").alias("acknowledged_at"),
    )
    lake.append(table, rows)


def confirm(lake: Lake, view: FeatureView, *, sequence: int, push: str, as_of: int) -> None:
    """Say that the store has acknowledged all of a push."""
    table = view_tables.history_table(view.name)
    row = (sequence, None, None, from_micros(as_of), datetime.now(UTC), view_tables.CONFIRMED, None, push, None)
    lake.append(table, small_frame(lake.spark, [row], table.ddl))


def last_sequence(lake: Lake, view: FeatureView) -> int:
    """The highest sequence recorded; 0 where there is none."""
    if not lake.exists(view_tables.history_table(view.name)):
        return 0
    return int(of_pushes(lake, view).agg(F.max("sequence")).collect()[0][0] or 0)


def has_record(lake: Lake, view: FeatureView, sequence: int, *, push: str) -> bool:
    """Whether a push's record is there; a history that was removed, or put back from a copy, may have lost it."""
    if not lake.exists(view_tables.history_table(view.name)):
        return False
    return not keys_of(lake, view).where((F.col("sequence") == sequence) & (F.col("push") == push)).isEmpty()


def open_keys(lake: Lake, view: FeatureView, *, after: int | None) -> DataFrame | None:
    """The keys recorded under sequences after one, or where that is None, under those never confirmed; None if none."""
    if not lake.exists(view_tables.history_table(view.name)):
        return None
    keys = keys_of(lake, view)
    if after is None:
        confirmed = of_pushes(lake, view).where("outcome IS NOT NULL").select("sequence", "push").alias("confirmed")
        same = F.expr("recorded.sequence = confirmed.sequence AND recorded.push <=> confirmed.push")
        keys = keys.alias("recorded").join(confirmed, on=same, how="left_anti")
    else:
        keys = keys.where(F.col("sequence") > after)
    keys = keys.select("item_key").distinct()
    return None if keys.isEmpty() else keys


def keys_of(lake: Lake, view: FeatureView) -> DataFrame:
    return of_pushes(lake, view).where("item_key IS NOT NULL").select("sequence", "push", "item_key")


def of_pushes(lake: Lake, view: FeatureView) -> DataFrame:
    """What pushes recorded."""
    rows = lake.read_as_promised(view_tables.history_table(view.name))
    return rows.where(F.isnull("backfill") & ~F.col("push").eqNullSafe(view_tables.DIRECT_WRITE))


Features = tuple[Column, ...]

OLDER = "older values"  # the transaction of a view whose history was there before this record


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What values of a view are packed under; `definition` computed them, for `backfill` where that is given."""

    view: str
    features: Features
    definition: str | None
    backfill: str | None = None

    @property
    def fingerprint(self) -> str:
        return schema_fingerprint(self.features)

    @property
    def transaction(self) -> str:
        return json.dumps([self.view, self.backfill, self.fingerprint, self.definition])


def ensure_recorded(
    lake: Lake, schema: Schema, *, first_sequence: Callable[[], int | None], known: Iterable[Features] = ()
) -> None:
    """Record a schema before values of it are, unless it is in use already.

    Where the view has a history from before this record, its schemas are recorded first; `known` are those that
    somebody still has. `first_sequence` is asked only where there is something to record.
    """
    reached = transactions_of(lake, schema.view)
    if schema.backfill is None and not any(backfill is None for backfill, _ in reached):
        record_older(lake, schema.view, known=(*known, schema.features))
    in_use = {name: number for (backfill, name), number in reached.items() if backfill == schema.backfill}
    if in_use and max(in_use, key=in_use.__getitem__) == schema.transaction:
        return
    now = datetime.now(UTC)
    row = row_of(schema.view, schema.fingerprint, schema.features, first_sequence(), now)
    row |= {"definition": schema.definition, "backfill": schema.backfill}
    append(lake, [row], transaction=schema.transaction, at=now)


def account_for_older(lake: Lake, view: FeatureView, *, known: Iterable[Features] = ()) -> None:
    """Record the schemas of a history that was there before this record, unless that was done."""
    if not any(backfill is None for backfill, _ in transactions_of(lake, view.name)):
        record_older(lake, view.name, known=(*known, view.features))


def record_older(lake: Lake, view: str, *, known: Iterable[Features]) -> None:
    """Record each schema that values in a history were packed under, its features null where nobody has them any more."""
    if not lake.exists(view_tables.history_table(view)):
        return
    now = datetime.now(UTC)
    features = {schema_fingerprint(one): one for one in known}
    found = fingerprints_in(lake, view)
    rows = [row_of(view, one, features.get(one), first, now) for one, first in found.items()]
    append(lake, rows, transaction=json.dumps([view, None, OLDER, None]), at=now)


def fingerprints_in(lake: Lake, view: str) -> dict[str, int]:
    """The schema fingerprints in the headers of a history's values, each with the first sequence that has it."""
    in_header = F.hex(F.substring("value", 9, 8)).alias(
        "bytes"
    )  # little-endian, as `tailrace.store.codec.fingerprints` reads it
    values = lake.read(view_tables.history_table(view)).where("value IS NOT NULL").select(in_header, "sequence")
    rows = values.groupBy("bytes").agg(F.min("sequence").alias("first")).orderBy("first", "bytes").collect()
    return {bytes.fromhex(row.bytes)[::-1].hex(): row["first"] for row in rows}


def features_by_fingerprint(lake: Lake, view: str) -> dict[str, Features | None]:
    """Every schema recorded of a view; None where its features are lost, and values of it cannot be decoded."""
    return recorded(lake).get(view, {})


def lost_schemas(lake: Lake) -> dict[str, list[str]]:
    """By view, the fingerprints of schemas of which values are in its history, and nobody knows the features."""
    lost = {
        view: [one for one, features in of_view.items() if features is None] for view, of_view in recorded(lake).items()
    }
    return {view: fingerprints for view, fingerprints in lost.items() if fingerprints}


def recorded(lake: Lake) -> dict[str, dict[str, Features | None]]:
    if not lake.exists(view_tables.SCHEMAS):
        return {}
    found: dict[str, dict[str, Features | None]] = {}
    for row in lake.read(view_tables.SCHEMAS).orderBy("view", "recorded_at", "schema").collect():
        of_view = found.setdefault(row.view, {})
        of_view[row.schema] = of_view.get(row.schema) or features_from(row.features)
    return found


def features_from(text: str | None) -> Features | None:
    return None if text is None else tuple(Column(name, Type(type_), "") for name, type_ in json.loads(text))


def row_of(
    view: str, fingerprint: str, features: Features | None, first_sequence: int | None, now: datetime
) -> dict[str, object]:
    text = None if features is None else json.dumps([(feature.name, str(feature.type)) for feature in features])
    return {
        "view": view,
        "schema": fingerprint,
        "features": text,
        "first_sequence": first_sequence,
        "recorded_at": now,
    }


def append(lake: Lake, rows: list[dict[str, object]], *, transaction: str, at: datetime) -> None:
    ordered = [tuple(row.get(column) for column in view_tables.SCHEMAS.columns) for row in rows]
    frame = small_frame(lake.spark, ordered, view_tables.SCHEMAS.ddl)
    lake.append_numbered(view_tables.SCHEMAS, frame, name=transaction, number=to_micros(at))


def transactions_of(lake: Lake, view: str) -> dict[tuple[str | None, str], int]:
    """The numbers of what was recorded of a view, by backfill, None outside of any, and name of the transaction."""
    found = {}
    for name, number in lake.numbers_reached(view_tables.SCHEMAS).items():
        of_view, backfill, *_ = json.loads(name)
        if of_view == view:
            found[backfill, name] = number
    return found
