"""Write rows of one view of the lane `direct`: lease, writes, end. What `sinks.data_source` lends to Spark."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from features.language import Feature
from online import control
from online.arrow import column_values
from online.codec import Codec
from online.keys import item_keys
from online.wire import PATIENCE_SECONDS, StoreClient
from sinks.lease import give_up, renew, stop, take, with_client
from sinks.rows import TOMBSTONE, Address, Outcome, Row, Sequenced, total
from sinks.store_scan import highest_sequence
from sinks.writer import write_rows


class DirectError(Exception):
    """Rows that cannot be written, or that the store did not take; the message names the view and what to do."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where rows of one view go, and how they are read.

    `entities` is key column by entity name. `removed` names a column that is true where a key is to go. `as_of` is when
    the values hold, in microseconds.
    """

    address: Address
    view: str
    entities: dict[str, str]
    features: tuple[Feature, ...]
    as_of: int
    removed: str | None = None

    def take_lease(self, *, owner: str | None = None) -> int:
        """The sequence that all of one write carries; another write of this view waits until it ends."""
        return take(self.address, self.view, self.address.lease_seconds, owner=owner, keep_cursor=False).sequence

    def write(self, batches: Iterable[pa.RecordBatch], *, sequence: int) -> Outcome:
        """Write one task's rows, the lease being renewed meanwhile; raises where the store refuses one for itself."""
        push = Sequenced(view=self.view, sequence=sequence, lease_seconds=self.address.lease_seconds)
        done = threading.Event()
        renewing = threading.Thread(
            target=renew, args=(self.address, self.view, sequence, push.lease_seconds, done), daemon=True
        )
        renewing.start()
        try:
            # Spark may take its time for the next batch: no request is under way meanwhile that would time out.
            outcome = total(asyncio.run(write_rows(self.rows(batch), self.address, push)) for batch in batches)
        finally:
            stop(renewing, done)
        if outcome.refused:
            told = "; ".join(f"{key!r}: {reason}" for key, reason in outcome.failed)
            raise DirectError(f"view {self.view}: the store refused {outcome.refused} rows: {told}")
        return outcome

    def rows(self, batch: pa.RecordBatch) -> Iterator[Row]:
        """Item keys and packed values, a tombstone where a key is to go."""
        if not batch.num_rows:
            return
        ids = {key: self.ids_in(batch, key) for key in self.entities.values()}
        columns = [column_values(batch.column(feature.name), feature) for feature in self.features]
        values = Codec(self.view, self.features).encode(columns, as_of=self.as_of)
        gone = batch.column(self.removed).to_pylist() if self.removed else [False] * batch.num_rows
        for key, value, removed in zip(item_keys(self.entities, ids), values, gone, strict=True):
            yield key, TOMBSTONE if removed else value

    def ids_in(self, batch: pa.RecordBatch, key: str) -> list[str]:
        column = batch.column(key)
        if column.null_count:
            raise DirectError(f"view {self.view}: {key!r} is null in {column.null_count} rows; every row needs its key")
        ids: list[str] = column.to_pylist()
        return ids

    def finish(self, sequence: int, outcome: Outcome) -> None:
        """Tell readers how fresh the view is and give the lease up.

        Raises where the store had newer values than the lease: their sequence is passed then, and a repeated write wins.
        """
        if outcome.stale:
            with_client(self.address, lambda client: self.pass_stored(client, sequence))
            raise DirectError(
                f"view {self.view}: {outcome.stale} rows in the store had a newer sequence than the control item, as after "
                "the store was put back from a copy; the sequence was raised, write again"
            )
        with_client(
            self.address,
            lambda client: control.close_push(
                client, self.view, sequence=sequence, cursor=None, watermark=self.as_of, features=self.features
            ),
            patience=PATIENCE_SECONDS,
        )

    async def pass_stored(self, client: StoreClient, sequence: int) -> None:
        highest = await highest_sequence(client, self.view) or 0
        await control.raise_sequence(client, self.view, sequence=sequence, to=highest)

    def give_up(self, sequence: int) -> None:
        """Let the next write begin at once; what this one wrote stays."""
        give_up(self.address, self.view, sequence)
