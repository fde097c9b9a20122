"""A table of a real store, leased for a push of the view `visits`, and ways to write to it."""

import asyncio
import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from sinks.store_values import write_rows
from tailrace.store.address import Address
from tailrace.store.dynamodb.calls import KEY, StoreClient, control_key, open_client, to_binary
from tailrace.store.dynamodb.store import DynamoStore, ensure_table
from tailrace.store.lease import Sequenced
from tests.tailrace.store.proxy import Proxy

TABLE_NUMBERS = itertools.count()
PUSH = Sequenced(view="visits", sequence=5, lease_seconds=60)
IN_FLIGHT = 3
WRITES = {"TransactWriteItems", "UpdateItem", "PutItem"}


@dataclass(frozen=True)
class Table:
    """A client of a table of its own, whose view `visits` is leased under sequence 5."""

    client: StoreClient
    address: Address
    push: Sequenced = PUSH

    async def put(self, key, **attributes):
        await self.client.call("PutItem", {"TableName": self.client.table, "Item": {KEY: {"S": key}} | attributes})

    async def items(self):
        """All entity items by key."""
        answer = await self.client.call("Scan", {"TableName": self.client.table})
        return {item.pop(KEY)["S"]: item for item in answer["Items"] if not item[KEY]["S"].startswith("#")}

    async def write(self, changes, push=None):
        return await write_rows(iter(changes), self.address, push or self.push)

    async def write_through(self, misbehave, changes, **options):
        """Write through a proxy; the outcome or the error, and every request as (operation, body)."""
        async with Proxy(self.address.url, misbehave) as proxy:
            address = replace(self.address, url=proxy.url)
            result: Any
            try:
                result = await write_rows(iter(changes), address, self.push, **options)
            except Exception as error:  # noqa: BLE001 - whatever it is, a test compares it
                result = error
            return result, proxy.asked


@asynccontextmanager
async def leased_table(url, writes="transactions", *, new_items=False):
    table = f"writer-{next(TABLE_NUMBERS)}"
    address = Address(url=url, region="us-east-1", table=table, in_flight=IN_FLIGHT, writes=writes, lease_seconds=60)
    async with open_client(url=url, region=address.region, table=address.table) as client:
        await ensure_table(client)
        before = {"sequence": {"N": str(PUSH.sequence - 1)}, "open": {"BOOL": False}, "lease_owner": {"S": "me"}}
        item = {KEY: {"S": control_key(PUSH.view)}, "lease_until": {"N": "0"}} | before
        await client.call("PutItem", {"TableName": table, "Item": item})
        await DynamoStore(client).take_lease(PUSH.view, owner="me", seconds=60)
        yield Table(client, address, replace(PUSH, new_items=new_items))


def run_with_table(url, action, writes, *, new_items=False):
    async def go():
        async with leased_table(url, writes, new_items=new_items) as table:
            return await action(table)

    return asyncio.run(go())


def written(value, sequence=5):
    return {"visits": to_binary(value), "visits#s": {"N": str(sequence)}}


def rows(count, size=3):
    return [(f"document|{number:04}", bytes([number % 256]) * size) for number in range(count)]


def stored(changes):
    return {key: written(value) for key, value in changes}
