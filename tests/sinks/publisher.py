"""A small view, its gold, a store table, and pushes from the one to the other."""

from datetime import timedelta

import pytest
from pyspark.sql import functions as F

from sinks import protocol
from sinks.push import Push, push_view
from sinks.reconcile import GoldSource, reconcile
from tailrace.definitions import BatchView, Feature, Type
from tailrace.lake import commit
from tailrace.lake.tables import Lake
from tailrace.schemas import view_tables
from tailrace.shipped.entities import DOCUMENT
from tailrace.store.address import Address
from tailrace.store.dynamodb.calls import KEY, scan, sequence_attribute
from tests.store_client import with_client

VISITS = BatchView(
    name="visits",
    entities=(DOCUMENT,),
    owner="tests",
    description="A view whose gold the tests write.",
    freshness=timedelta(hours=1),
    transform=lambda documents: documents,
    transform_features=(Feature("views", Type.INT64, "how many"), Feature("hidden", Type.BOOL, "not online")),
    online_when="not hidden",
)
ROWS = "document_id string, views bigint, hidden boolean"
AS_OF = "2026-03-02T10:15:00Z"


class Publisher:
    """Gold, a store table, and pushes from the one to the other."""

    def __init__(self, lake: Lake, address: Address):
        self.lake = lake
        self.address = address
        lake.create(VISITS.table)

    def become(self, **views):
        """Gold holds these documents; a negative number is a hidden one."""
        rows = [(name, abs(count), count < 0) for name, count in views.items()]
        frame = self.lake.spark.createDataFrame(rows, ROWS)
        state = {"as_of": AS_OF, "started_from": self.lake.version(VISITS.table)}
        commit.become(self.lake, VISITS.table, frame, state=state)

    def push(self, view=VISITS, **options):
        return push_view(self.lake, self.address, view, **options)

    def die_after(self, step):
        """A push ends at a step, as if its process had been killed; its lease is given up."""

        class Dies(Exception):
            pass

        def dies():
            steps = protocol.push()
            answer = None
            while True:
                asked = steps.send(answer)
                answer = yield asked
                if isinstance(asked, step):
                    raise Dies

        with pytest.raises(Dies), Push(self.lake, self.address, VISITS) as push:
            push.run(dies())

    def reconcile(self):
        found = self.compared()
        return found.missing, found.ghost, found.different

    def repair(self):
        return self.compared(repair=True)

    def compared(self, *, repair=False):
        source = GoldSource(lake=self.lake, address=self.address, view=VISITS)
        return reconcile(source, repair=repair)[VISITS.name]

    def with_client(self, action):
        return with_client(self.address, action)

    def damage(self, key, **attributes):
        item = {KEY: {"S": f"document|{len(key)}:{key}"}} | attributes
        self.with_client(lambda client: client.call("PutItem", {"TableName": client.table, "Item": item}))

    def lose(self, key):
        self.with_client(
            lambda client: client.call("DeleteItem", {"TableName": client.table, "Key": {KEY: {"S": key}}})
        )

    def sequences(self):
        """The sequence of every item of the view, by document."""

        async def read(client):
            pages = scan(client, (sequence_attribute("visits"),), having=sequence_attribute("visits"))
            return [item async for page in pages for item in page]

        items = self.with_client(read)
        return {item[KEY]["S"].split(":")[1]: int(item["visits#s"]["N"]) for item in items}

    def attributes(self, key):
        """The names of an item's attributes, its key left out."""
        asked = {"Key": {KEY: {"S": f"document|{len(key)}:{key}"}}}
        found = self.with_client(lambda client: client.call("GetItem", {"TableName": client.table, **asked}))
        return set(found["Item"]) - {KEY}

    def history(self):
        rows = self.lake.read(view_tables.history_table("visits")).orderBy(
            "sequence", F.col("item_key").asc_nulls_last()
        )
        keys = [
            (row.sequence, row.item_key and row.item_key.split(":")[1], row.value is None) for row in rows.collect()
        ]
        return [(sequence, key or "confirmed", "gone" if gone and key else "") for sequence, key, gone in keys]
