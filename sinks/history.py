"""The history of pushes: values before they are written, the schemas that they are packed under, and the ledger of runs."""

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from sinks.protocol import SUPPRESS
from tailrace.definitions import FeatureView
from tailrace.definitions.fingerprints import schema_fingerprint
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas import tables, view_tables
from tailrace.schemas.slots import from_micros, to_micros, to_text
from tailrace.schemas.view_tables import RUNS

CLOSING = "item_key string, value binary, as_of timestamp"


def history_rows(
    values: DataFrame,
    *,
    sequence: Column,
    as_of: Column,
    recorded_at: Column,
    outcome: str | None = None,
    backfill: str | None = None,
    push: str | None = None,
    acknowledged_at: Column | None = None,
) -> DataFrame:
    """Values, as `item_key, value`, as rows of a view's history; a key that is null closes a push or a time of a backfill."""
    never = F.lit(None) if acknowledged_at is None else acknowledged_at
    return values.select(
        sequence.cast("bigint").alias("sequence"),
        "item_key",
        "value",
        as_of.alias("as_of"),
        recorded_at.alias("recorded_at"),
        F.lit(outcome).cast("string").alias("outcome"),
        F.lit(backfill).cast("string").alias("backfill"),
        F.lit(push).cast("string").alias("push"),
        never.cast("timestamp").alias("acknowledged_at"),
    )


def closing_rows(
    lake: Lake, times: Iterable[datetime], *, sequence: int, backfill: str | None = None, push: str | None = None
) -> DataFrame:
    """The rows of a history that say that a push, or each of these times of a backfill, is complete."""
    rows = small_frame(lake.spark, [(None, None, as_of) for as_of in times], CLOSING)
    return history_rows(
        rows,
        sequence=F.lit(sequence),
        as_of=F.col("as_of"),
        recorded_at=F.lit(datetime.now(UTC)),
        outcome=view_tables.CONFIRMED,
        backfill=backfill,
        push=push,
    )


def record(lake: Lake, view: FeatureView, changes: DataFrame, *, sequence: int, push: str, as_of: int) -> None:
    """Append what a push, which `push` names, is about to write."""
    rows = history_rows(
        changes.where(F.col("action") != SUPPRESS),
        sequence=F.lit(sequence),
        as_of=F.lit(from_micros(as_of)),
        recorded_at=F.lit(datetime.now(UTC)),
        push=push,
    )
    lake.append(view_tables.history_table(view.name), rows)


def confirm(lake: Lake, view: FeatureView, *, sequence: int, push: str, as_of: int) -> None:
    """Say that the store has acknowledged all of a push."""
    closing = closing_rows(lake, [from_micros(as_of)], sequence=sequence, push=push)
    lake.append(view_tables.history_table(view.name), closing)


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
    """The keys that pushes of a view recorded, with their sequence and push."""
    return of_pushes(lake, view).where("item_key IS NOT NULL").select("sequence", "push", "item_key")


def of_pushes(lake: Lake, view: FeatureView) -> DataFrame:
    """What pushes recorded."""
    rows = lake.read_as_promised(view_tables.history_table(view.name))
    return rows.where(F.isnull("backfill") & ~F.col("push").eqNullSafe(view_tables.DIRECT_WRITE))


Features = tuple[tables.Column, ...]

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
    row = schema_row(schema.view, schema.fingerprint, schema.features, first_sequence(), now)
    row |= {"definition": schema.definition, "backfill": schema.backfill}
    append_schemas(lake, [row], transaction=schema.transaction, at=now)


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
    rows = [schema_row(view, one, features.get(one), first, now) for one, first in found.items()]
    append_schemas(lake, rows, transaction=json.dumps([view, None, OLDER, None]), at=now)


def fingerprints_in(lake: Lake, view: str) -> dict[str, int]:
    """The schema fingerprints in the headers of a history's values, each with the first sequence that has it."""
    # Little-endian, as `tailrace.store.codec.fingerprints` reads it.
    in_header = F.hex(F.substring("value", 9, 8)).alias("bytes")
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
    """The features of every schema recorded, by view and fingerprint; None where nobody knows them."""
    if not lake.exists(view_tables.SCHEMAS):
        return {}
    found: dict[str, dict[str, Features | None]] = {}
    for row in lake.read(view_tables.SCHEMAS).orderBy("view", "recorded_at", "schema").collect():
        of_view = found.setdefault(row.view, {})
        of_view[row.schema] = of_view.get(row.schema) or features_from(row.features)
    return found


def features_from(text: str | None) -> Features | None:
    """Features from the text of `history.schemas`."""
    return (
        None if text is None else tuple(tables.Column(name, tables.Type(type_), "") for name, type_ in json.loads(text))
    )


def schema_row(
    view: str, fingerprint: str, features: Features | None, first_sequence: int | None, now: datetime
) -> dict[str, object]:
    """One row of `history.schemas`."""
    text = None if features is None else json.dumps([(feature.name, str(feature.type)) for feature in features])
    return {
        "view": view,
        "schema": fingerprint,
        "features": text,
        "first_sequence": first_sequence,
        "recorded_at": now,
    }


def append_schemas(lake: Lake, rows: list[dict[str, object]], *, transaction: str, at: datetime) -> None:
    """Append rows to `history.schemas` under a transaction's name; done again it does nothing."""
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


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """One view after a push: values written and their bytes, tombstones, keys unchanged or newer in the store, the
    requests and bytes that the writes took, and how.

    `why` says what made a snapshot necessary, `change_rows` how many rows of the change feed or of a comparison came to
    `net` keys. net = pushed + removed + suppressed + stale. `as_of` and `confirmed_at`, when the store had all of the
    push, its watermark too, are in microseconds.
    """

    how: str
    why: str | None = None
    sequence: int = 0
    as_of: int = 0
    confirmed_at: int | None = None
    change_rows: int = 0
    net: int = 0
    pushed: int = 0
    removed: int = 0
    suppressed: int = 0
    stale: int = 0
    bytes: int = 0
    requests: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    write_seconds: float = 0.0

    @property
    def rows_per_second(self) -> int:
        """Values and tombstones written, per second of writing."""
        return rate(self.pushed + self.removed, self.write_seconds)


def rate(rows: int, seconds: float | None) -> int:
    """Rows per second, 0 where no time passed or none is known."""
    return round(rows / seconds) if seconds else 0


# What adds up where one run has several leases of one view.
SUMS = (
    "change_rows", "net", "pushed", "removed", "suppressed", "stale", "bytes", "requests", "bytes_sent", "seconds",
    "write_seconds",
)  # fmt: skip


def total_pushed(parts: Sequence[Pushed]) -> Pushed:
    """The figures of several leases of one view as those of one push, of the last sequence."""
    return replace(parts[-1], **{name: sum(getattr(part, name) for part in parts) for name in SUMS})


@dataclass(frozen=True)
class Run:
    """One run of the publisher over several views."""

    allowed: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def append_runs(lake: Lake, run: Run, results: Mapping[str, Pushed | Exception]) -> None:
    """Add a run to the ledger: per view its figures, or why it stopped."""
    common = {"run": run.id, "started_at": run.started_at, "allowed": run.allowed}
    rows = [common | {"view": view} | run_columns(result) for view, result in results.items()]
    ordered = [tuple(row.get(column) for column in RUNS.columns) for row in rows]
    lake.append(RUNS, small_frame(lake.spark, ordered, RUNS.ddl))


def run_columns(result: Pushed | Exception) -> dict[str, Any]:
    """The columns of the ledger that a push's result fills."""
    if isinstance(result, Exception):
        return {"failure": f"{type(result).__name__}: {next(iter(str(result).strip().splitlines()), '')}"}
    confirmed_at = None if result.confirmed_at is None else from_micros(result.confirmed_at)
    return asdict(result) | {"as_of": from_micros(result.as_of), "confirmed_at": confirmed_at}


def read_runs(lake: Lake, *, last: int) -> list[dict[str, Any]]:
    """The newest runs, newest first, each with its views."""
    if not lake.exists(RUNS):
        return []
    rows = lake.read(RUNS)
    newest = rows.groupBy("run").agg(F.min("started_at").alias("began")).orderBy(F.desc("began"), "run").limit(last)
    found = rows.join(F.broadcast(newest), on="run").orderBy(F.desc("began"), "run", "view").collect()
    runs: dict[str, dict[str, Any]] = {}
    for row in found:
        entered = row.asDict()  # a ledger of before may lack the newest columns
        view = {
            name: entered.get(name) for name in RUNS.columns if name not in ("run", "started_at", "view", "allowed")
        }
        times = {name: entered.get(name) for name in ("as_of", "confirmed_at")}
        view |= {name: to_text(at.replace(tzinfo=UTC)) if at else None for name, at in times.items()}
        view["rows_per_second"] = None if row.failure else rate(row.pushed + row.removed, view["write_seconds"])
        started = to_text(row.started_at.replace(tzinfo=UTC))
        run = runs.setdefault(row.run, {"run": row.run, "started_at": started, "allowed": row.allowed, "views": {}})
        run["views"][row.view] = view
    return list(runs.values())
