"""The record of schemas: what the packed values in histories were packed under, and by which definition.

A schema is recorded before the first value of it, because nothing else keeps it: the control item has the newest alone.
Whether it is recorded is looked up in the numbers of Delta's transactions, which costs no Spark job. Each row is a
transaction of its own, named after what it records and numbered by the clock: the newest of a view is in use.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import functions as F

from tailrace.definitions import FeatureView
from tailrace.definitions.view import schema_fingerprint
from tailrace.lake.appends import append_numbered, numbers_reached
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas import history
from tailrace.schemas.slots import to_micros
from tailrace.schemas.tables import Column, Type

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
    if not lake.exists(history.table(view)):
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
    values = lake.read(history.table(view)).where("value IS NOT NULL").select(in_header, "sequence")
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
    if not lake.exists(history.SCHEMAS):
        return {}
    found: dict[str, dict[str, Features | None]] = {}
    for row in lake.read(history.SCHEMAS).orderBy("view", "recorded_at", "schema").collect():
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
    ordered = [tuple(row.get(column) for column in history.SCHEMAS.columns) for row in rows]
    frame = small_frame(lake.spark, ordered, history.SCHEMAS.ddl)
    append_numbered(lake, history.SCHEMAS, frame, name=transaction, number=to_micros(at))


def transactions_of(lake: Lake, view: str) -> dict[tuple[str | None, str], int]:
    """The numbers of what was recorded of a view, by backfill, None outside of any, and name of the transaction."""
    found = {}
    for name, number in numbers_reached(lake, history.SCHEMAS).items():
        of_view, backfill, *_ = json.loads(name)
        if of_view == view:
            found[backfill, name] = number
    return found
