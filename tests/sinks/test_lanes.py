"""Three lanes write the same items in any order, late and twice, while views change hands, are swept and rebuilt.

The rule: of what reached the store for a view and a key, the highest rank stands. The rank is the sequence under which it
was written and, in the lane direct, the order. A change of owner raises the sequence and removes what is below it; what
the old owner sends after that is refused. What one view has of an item is nothing to another.
"""

import asyncio
import os
import random
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from tailrace.definitions import BATCH, DIRECT, STREAM, Feature, Type
from tailrace.settings import read_settings
from tailrace.store.control import LeaseLost, OtherLane
from tailrace.store.direct.sender import Sender, first_unknown
from tailrace.store.dynamodb.calls import binary, open_client, read_items
from tailrace.store.dynamodb.store import DynamoStore, ensure_table
from tailrace.store.keys import item_keys
from tailrace.store.lease import Sequenced, seconds_since_boot
from tailrace.store.order import Order, OrderedValue
from tailrace.store.port import TOMBSTONE
from tailrace.store.writer import Together, write_batch

HISTORIES = int(os.environ.get("LANE_HISTORIES", "1000"))
STEPS = 8
AT_ONCE = 48
LANES = (BATCH, STREAM, DIRECT)
SCORE = (Feature("score", Type.FLOAT64, ""),)

Rank = tuple[int, int, int]  # sequence, and the order, which counts nothing in other lanes


@dataclass
class View:
    """A view of one history: who has it, what the rule says of each key, and what was acknowledged of direct writes."""

    name: str
    lane: str
    holds: dict[str, tuple[Rank, bytes]] = field(default_factory=dict)
    acknowledged: dict[str, tuple[Order, bytes]] = field(default_factory=dict)
    late: list["Late"] = field(default_factory=list)

    def take(self, key: str, rank: Rank, value: bytes) -> bool:
        """What the store has to do with a value that reaches it."""
        if key in self.holds and self.holds[key][0] > rank:
            return False
        self.holds[key] = (rank, value)
        return True


@dataclass
class Late:
    """Writes that were prepared, and are sent when others have been; `until` is their last moment."""

    lane: str
    values: dict[str, bytes]
    sequence: int
    orders: dict[str, Order] = field(default_factory=dict)
    until: float = 0.0


class History:
    """One random history over three views that share three items."""

    def __init__(self, client: Any, number: int) -> None:
        self.client, self.random = client, random.Random(number)
        self.views = [View(f"v{number}x{i}", lane) for i, lane in enumerate(LANES)]
        ids = [f"h{number}d{i}" for i in range(3)]
        self.keys = item_keys({"document": "document_id"}, {"document_id": ids})

    async def run(self) -> None:
        for step in range(STEPS):
            view = self.random.choice(self.views)
            await self.random.choice([self.write, self.write, self.write, self.send_late, self.sweep, self.rebuild])(
                view
            )
            if step in {3, 6}:
                await self.hand_over(self.random.choice(self.views))
        for view in self.views:
            await self.send_late(view)
        await self.check()

    def some_values(self) -> dict[str, bytes]:
        chosen = [key for key in self.keys if self.random.random() < 0.6] or [self.keys[0]]
        return {key: self.random.choice([TOMBSTONE, self.random.randbytes(4)]) for key in chosen}

    async def write(self, view: View) -> None:
        late = await self.prepare(view)
        if self.random.random() < 0.3:
            view.late.append(late)
        else:
            await self.send(view, late, new_items=self.random.random() < 0.3)
            if self.random.random() < 0.2:
                await self.send(view, late)  # once more

    async def prepare(self, view: View) -> Late:
        values = self.some_values()
        wrong = self.random.choice([lane for lane in LANES if lane != view.lane])
        if view.holds and wrong != DIRECT and self.random.random() < 0.2:
            assert await self.lease(view, wrong) is None
        if view.lane == DIRECT:
            given = await DynamoStore(self.client).take_revisions(view.name, SCORE, count=len(values))
            orders = {
                key: Order(self.random.randrange(4), revision) for revision, key in enumerate(values, given.first)
            }
            return Late(view.lane, values, given.sequence, orders, seconds_since_boot() + 600)
        taken = await self.lease(view, view.lane)
        assert taken is not None
        return Late(view.lane, values, taken.sequence)

    async def lease(self, view: View, lane: str) -> Any:
        return await DynamoStore(self.client).take_lease(
            view.name, owner=str(self.random.random()), seconds=-1, lane=lane
        )

    async def send(self, view: View, late: Late, *, new_items: bool = False) -> None:
        if late.lane == DIRECT:
            await self.send_direct(view, late)
            return
        push = Sequenced(view=view.name, sequence=late.sequence, lease_seconds=0, new_items=new_items)
        try:
            lane = Together(DynamoStore(self.client), push)
            await write_batch(lane, list(late.values.items()))
            accepted = [view.take(key, (late.sequence, 0, 0), value) for key, value in late.values.items()]
            assert lane.outcome.written + lane.outcome.removed == sum(accepted)
            await DynamoStore(self.client).close_push(
                view.name, sequence=late.sequence, cursor=None, watermark=1, features=SCORE
            )
        except LeaseLost:
            control = (await DynamoStore(self.client).read_controls([view.name]))[view.name]
            assert control.sequence > late.sequence

    async def send_direct(self, view: View, late: Late) -> None:
        rows = [
            OrderedValue(view=view.name, item_key=key, value=value, order=late.orders[key], sequence=late.sequence)
            for key, value in late.values.items()
        ]
        sender = Sender(DynamoStore(self.client), transactions=self.random.random() < 0.5)
        results = await sender.write(rows, until=late.until)
        if failure := first_unknown(results):
            assert (failure.code, late.until) == ("TooLate", 0.0)
            return
        for row, result in zip(rows, results, strict=True):
            accepted = view.take(row.item_key, (row.sequence, *row.order), row.value)
            assert (result is None) == accepted
            if accepted:
                known = view.acknowledged.get(row.item_key)
                view.acknowledged[row.item_key] = max(known or (row.order, row.value), (row.order, row.value))

    async def send_late(self, view: View) -> None:
        while view.late:
            await self.send(view, view.late.pop(self.random.randrange(len(view.late))))

    async def sweep(self, view: View) -> None:
        """Tombstones of pushes go when nothing that is older can come any more; those of direct writes stay."""
        for key, (rank, value) in list(view.holds.items()):
            if view.lane != DIRECT and value == TOMBSTONE and not view.late and rank[2] == 0:
                assert await DynamoStore(self.client).purge_tombstone(view.name, key, sequence=rank[0])
                del view.holds[key]

    async def rebuild(self, view: View) -> None:
        """All that was ever acknowledged of a direct view is written again, as after its store was lost."""
        if view.lane == DIRECT and view.acknowledged:
            given = await DynamoStore(self.client).take_revisions(view.name, SCORE, count=0)
            orders = {key: order for key, (order, _) in view.acknowledged.items()}
            values = {key: value for key, (_, value) in view.acknowledged.items()}
            await self.send(view, Late(DIRECT, values, given.sequence, orders, seconds_since_boot() + 600))

    async def hand_over(self, view: View) -> None:
        found = (await DynamoStore(self.client).read_controls([view.name])).get(view.name)
        lane = self.random.choice([lane for lane in LANES if lane != view.lane])
        if found is None:
            view.lane = lane
            return
        assert await DynamoStore(self.client).give_to_lane(view.name, lane, found=found)
        for late in view.late:
            late.until = 0.0  # the time for last words is over
        for key in self.keys:
            removed = await DynamoStore(self.client).remove_below(view.name, key, below=found.sequence + 1)
            assert removed == (view.holds.pop(key, None) is not None)
        old, view.lane = view.lane, lane
        with suppress(OtherLane):
            await DynamoStore(self.client).check_lane(view.name, old)
            raise AssertionError(old)

    async def check(self) -> None:
        names = [view.name for view in self.views]
        items = await read_items(self.client, self.keys, names)
        found = {(name, key): binary(item, name) for key, item in items.items() for name in names if name in item}
        expected = {(view.name, key): value for view in self.views for key, (_, value) in view.holds.items()}
        assert found == expected


async def run_all(url: str, histories: int) -> int:
    async with open_client(url=url, region="us-east-1", table=f"lanes-{histories}") as client:
        await ensure_table(client)
        places = asyncio.Semaphore(AT_ONCE)

        async def run(number: int) -> int:
            async with places:
                try:
                    await History(client, number).run()
                except Exception as error:
                    raise AssertionError(f"history {number}") from error
                return 1

        return sum(await asyncio.gather(*map(run, range(histories))))


@pytest.fixture(scope="module")
def store_in_memory():
    """The embedded store as it is but for its disk, which would be most of the time that this takes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(read_settings({}).store.binary), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as store:
        yield f"http://127.0.0.1:{port}"
        store.terminate()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lanes_never_overwrite_each_other(store_in_memory):
    assert uvloop.run(run_all(store_in_memory, HISTORIES)) == HISTORIES


def test_lanes_never_overwrite_each_other_in_a_few_histories(store_in_memory):
    assert uvloop.run(run_all(store_in_memory, 40)) == 40
