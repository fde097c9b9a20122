"""A view of the lane direct, with a log, a landing folder and a lake, written to by one process after another."""

from datetime import UTC, datetime, timedelta

from jobs.bronze import load
from sinks.direct_writes import DirectSource
from sinks.reconcile import reconcile
from tailrace.definitions import DIRECT, DirectView, Feature, Type
from tailrace.schemas import view_tables
from tailrace.shipped.entities import DOCUMENT
from tailrace.store.codec import Codec
from tailrace.store.direct.log import Log
from tailrace.store.direct.pending import Value
from tailrace.store.direct.writer import DirectWriter
from tailrace.store.dynamodb.calls import KEY, binary, scan
from tailrace.store.dynamodb.conditional_writes import order_attribute
from tailrace.store.dynamodb.store import DynamoStore, ensure_table
from tests import feeds
from tests.store_client import with_client

NOW = datetime.now(UTC)
RELEVANCE = DirectView(
    name="relevance",
    entities=(DOCUMENT,),
    owner="tests",
    description="",
    freshness=timedelta(days=1),
    lane=DIRECT,
    written_features=(Feature("score", Type.FLOAT64, ""), Feature("at", Type.TIMESTAMP, "")),
)
AT = "2026-03-01T08:00:00Z"


class Lane:
    """A landing folder, a log and a store, written to by one process after another."""

    def __init__(self, lake, address, folder):
        self.lake, self.address = lake, address
        self.where = Log(folder=folder / "log", landing=str(folder / "landing"))
        with_client(address, ensure_table)

    def write(self, *rows):
        """Write rows of document, time in microseconds, and score, None where the key is to go."""
        values = [
            Value(
                view=RELEVANCE,
                keys={"document_id": document},
                occurred_at=occurred_at,
                values=None if score is None else {"score": score, "at": AT},
            )
            for document, occurred_at, score in rows
        ]

        async def run(client):
            async with DirectWriter(
                DynamoStore(client), self.where, lambda: {"relevance": RELEVANCE}, transactions=True
            ) as lane:
                return await lane.write(values)

        return with_client(self.address, run)

    def load(self):
        return load.run(self.lake, feeds.intake(self.where.landing), now=NOW)

    def reconcile(self, *, repair=False):
        log = self.where.folder
        source = DirectSource(lake=self.lake, address=self.address, view=RELEVANCE, load=self.load, log=log)
        return reconcile(source, repair=repair)[RELEVANCE.name]

    def items(self):
        async def read(client):
            return [item async for page in scan(client, ("relevance", order_attribute("relevance"))) for item in page]

        return {
            item[KEY]["S"].split(":")[1]: item
            for item in with_client(self.address, read)
            if not item[KEY]["S"].startswith("#") and "relevance" in item
        }

    def scores(self):
        """By document, None for a tombstone."""
        return {document: score_of(binary(item, "relevance")) for document, item in self.items().items()}

    def lose_store(self):
        async def drop(client):
            await client.call("DeleteTable", {"TableName": client.table})
            await ensure_table(client)

        with_client(self.address, drop)

    def history(self):
        """Rows of document, time, score and sequence, in the order of the times."""
        rows = self.lake.read(view_tables.history_table("relevance")).where("outcome = 'confirmed'").collect()
        return sorted((row.item_key.split(":")[1], row.as_of.timestamp(), score_of(row.value)) for row in rows)


def score_of(value):
    return float(Codec("relevance", RELEVANCE.features).decode([value]).columns[0].values[0]) if value else None
