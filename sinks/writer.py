"""Write net changes from Spark's executors, conditionally and in transactions."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from contracts.tables import Column
from online.arrow import column_values
from online.codec import Codec
from online.control import LeaseLost
from online.items import KEY, sequence_attribute, to_binary
from online.keys import control_key
from online.wire import ATTEMPTS, StoreClient, StoreError, delay_after, open_store
from sinks.net_changes import WRITE

OUTCOME = "written bigint, removed bigint, stale bigint, bytes bigint"
ROWS_PER_TRANSACTION = 99  # TransactWriteItems takes 100 actions, and one checks the lease
BYTES_PER_TRANSACTION = 3_000_000  # it takes 4 MB, of which one last row may be 400 KB
TOMBSTONE = b""

CONDITION_FAILED = "ConditionalCheckFailed"
RETRIED_REASONS = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the store is, and how many requests one task keeps in flight."""

    url: str
    region: str
    table: str
    in_flight: int


@dataclass(frozen=True, kw_only=True)
class Sequenced:
    """What every write of one push carries: the view, its schema, the sequence and the as-of in microseconds."""

    view: str
    features: tuple[Column, ...]
    sequence: int
    as_of: int


@dataclass
class Outcome:
    """What became of the rows of one task: values written, tombstones written, refused as stale; bytes of the values."""

    written: int = 0
    removed: int = 0
    stale: int = 0
    bytes: int = field(default=0, compare=False)


Row = tuple[str, bytes]


def write_batches(batches: Iterable[pa.RecordBatch], address: Address, push: Sequenced) -> Iterator[pa.RecordBatch]:
    """Write Arrow batches of `item_key, action` and features; yields one row of counts."""
    outcome = asyncio.run(write_rows(encode(batches, push), address, push))
    counts = {name: [getattr(outcome, name)] for name in vars(outcome)}
    yield pa.RecordBatch.from_pydict(counts)


def encode(batches: Iterable[pa.RecordBatch], push: Sequenced) -> Iterator[Row]:
    """Item keys with their packed values, a tombstone being empty."""
    codec = Codec(push.view, push.features)
    for batch in batches:
        if batch.num_rows == 0:
            continue
        columns = [column_values(batch.column(feature.name), feature) for feature in push.features]
        values = codec.encode(columns, as_of=push.as_of)
        actions = batch.column("action").to_pylist()
        keys = batch.column("item_key").to_pylist()
        for key, action, value in zip(keys, actions, values, strict=True):
            yield key, value if action == WRITE else TOMBSTONE


async def write_rows(rows: Iterator[Row], address: Address, push: Sequenced) -> Outcome:
    """Write rows in transactions, several at a time; the first error stops the rest."""
    outcome = Outcome()
    async with open_store(url=address.url, region=address.region, table=address.table) as client:
        writers = [asyncio.create_task(write_until_done(client, rows, push, outcome)) for _ in range(address.in_flight)]
        try:
            await asyncio.gather(*writers)
        finally:
            for writer in writers:
                writer.cancel()
    return outcome


async def write_until_done(client: StoreClient, rows: Iterator[Row], push: Sequenced, outcome: Outcome) -> None:
    while batch := next_batch(rows):
        stale = await transact(client, batch, push)
        outcome.stale += len(stale)
        for key, value in batch:
            if key not in stale:
                outcome.removed += value == TOMBSTONE
                outcome.written += value != TOMBSTONE
                outcome.bytes += len(value)


def next_batch(rows: Iterator[Row]) -> list[Row]:
    """As many rows as one transaction takes, by number and by bytes; empty at the end."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row[0].encode()) + len(row[1])
        if len(batch) == ROWS_PER_TRANSACTION or size > BYTES_PER_TRANSACTION:
            break
    return batch


async def transact(client: StoreClient, batch: list[Row], push: Sequenced) -> set[str]:
    """Write one batch if the lease still stands; returns the keys that hold a newer value and were left alone."""
    stale: set[str] = set()
    for attempt in range(1, ATTEMPTS + 1):
        actions = [lease_check(client, push), *(update(client, row, push) for row in batch)]
        try:
            await client.call("TransactWriteItems", {"TransactItems": actions})
        except StoreError as error:
            if error.code != "TransactionCanceledException":
                raise
            refused = refused_keys(error, batch, push)
            stale |= refused
            batch = [row for row in batch if row[0] not in refused]
            if batch and not refused:
                await asyncio.sleep(delay_after(attempt))
        else:
            return stale
        if not batch:
            return stale
    raise StoreError("TransactionConflict", f"view {push.view}: {len(batch)} rows in conflict {ATTEMPTS} times")


def refused_keys(error: StoreError, batch: list[Row], push: Sequenced) -> set[str]:
    """The keys whose own condition failed; raises where the lease is gone or a row can never be written."""
    lease, *rows = [reason.get("Code", "None") for reason in error.details["CancellationReasons"]]
    if lease == CONDITION_FAILED:
        raise LeaseLost(f"view {push.view}: another push took over from sequence {push.sequence}")
    for (key, value), code in zip(batch, rows, strict=True):
        if code not in RETRIED_REASONS and code not in ("None", CONDITION_FAILED):
            raise StoreError(code, f"view {push.view}: item {key!r} with {len(value)} bytes was refused")
    return {key for (key, _), code in zip(batch, rows, strict=True) if code == CONDITION_FAILED}


def lease_check(client: StoreClient, push: Sequenced) -> dict[str, Any]:
    check: dict[str, Any] = {"TableName": client.table, "Key": {KEY: {"S": control_key(push.view)}}}
    check["ConditionExpression"] = "#sequence = :sequence"
    check["ExpressionAttributeNames"] = {"#sequence": "sequence"}
    check["ExpressionAttributeValues"] = {":sequence": {"N": str(push.sequence)}}
    return {"ConditionCheck": check}


def update(client: StoreClient, row: Row, push: Sequenced) -> dict[str, Any]:
    """Set this view's two attributes, the rest of the item being other views' and other lanes'."""
    key, value = row
    change: dict[str, Any] = {"TableName": client.table, "Key": {KEY: {"S": key}}}
    change["UpdateExpression"] = "SET #v = :v, #s = :s"
    change["ConditionExpression"] = "attribute_not_exists(#s) OR #s <= :s"
    change["ExpressionAttributeNames"] = {"#v": push.view, "#s": sequence_attribute(push.view)}
    change["ExpressionAttributeValues"] = {":v": to_binary(value), ":s": {"N": str(push.sequence)}}
    return {"Update": change}
