"""Write each row in a conditional request of its own, which any DynamoDB-compatible store takes at half the price."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any

from sinks.lease import Fence
from sinks.rows import Outcome, Row, Sequenced, told_of
from tailrace.store.dynamodb.fenced import put_fenced, update_fenced
from tailrace.store.dynamodb.refusals import is_condition_failed, is_own_refusal
from tailrace.store.dynamodb.wire import Patience, StoreClient, StoreError, is_throttling, is_transient
from tailrace.store.pace import Pace

UPDATES_PER_PLACE = 8  # under way where one transaction would be: an update carries one row, not 99


def writers(
    client: StoreClient, rows: Iterator[Row], push: Sequenced, outcome: Outcome, *, in_flight: int
) -> list[Coroutine[Any, Any, None]]:
    """Writers that share the rows, the outcome, the look at the lease and the pace."""
    fence = Fence(client, push)
    pace = Pace(in_flight * UPDATES_PER_PLACE)
    return [write_until_done(client, rows, push, outcome, fence=fence, pace=pace) for _ in range(pace.most)]


async def write_until_done(
    client: StoreClient, rows: Iterator[Row], push: Sequenced, outcome: Outcome, *, fence: Fence, pace: Pace
) -> None:
    for row in rows:
        await write(client, row, push, outcome, fence=fence, pace=pace)


async def write(client: StoreClient, row: Row, push: Sequenced, outcome: Outcome, *, fence: Fence, pace: Pace) -> None:
    """Write one row and count what became of it; raises where more than this row is at stake."""
    patience, action = client.be_patient(), put_fenced if push.new_items else update_fenced
    while True:
        once = partial(action, client, *row, view=push.view, sequence=push.sequence)
        try:
            await send(once, fence=fence, pace=pace, patience=patience)
        except StoreError as error:
            if is_condition_failed(error) and action is put_fenced:
                action = update_fenced  # the item is there after all
                continue
            if is_condition_failed(error):
                outcome.stale += 1
                return
            if is_own_refusal(error):
                outcome.refuse(row[0], f"{error.code}: {error.message}")
                return
            if not is_transient(error):
                raise told_of(error, [row], push) from error
            try:
                await patience.wait_after(error)
            except StoreError as last:
                raise told_of(last, [row], push) from last
        else:
            outcome.count(row)
            return


async def send(once: Callable[[], Awaitable[None]], *, fence: Fence, pace: Pace, patience: Patience) -> None:
    """Send one row once, at the pace that the store takes and under a lease that was just seen."""
    async with pace.place() as entered:
        # Waiting for a place is not a failure, nor is a store that takes other rows meanwhile.
        patience.begin_again(pace.last_success)
        await fence.pass_through()
        try:
            await once()
        except StoreError as error:
            if is_throttling(error):
                pace.fall(entered)
            raise
        pace.rise()
