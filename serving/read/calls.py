"""Calls of the store with somebody waiting: a second one where the first takes long, few of them in all."""

import asyncio
from collections import deque

import orjson

from serving.telemetry.board import Cells
from serving.telemetry.metrics import STORE_READS
from tailrace.store.dynamodb.wire import Json, StoreClient, StoreError, Turn

SHARE = 0.1
AT_FIRST = 5.0  # calls: a connection that broke while idle should cost no answer
AT_MOST = 50.0
TIMES_KEPT = 512
TIMES_BETWEEN = 64  # between two looks at the times kept
QUANTILE = 0.95


class ExtraCalls:
    """What retries and hedges may spend: a tenth of the first calls, which earn it."""

    def __init__(self) -> None:
        self._left = AT_FIRST

    def earn(self) -> None:
        self._left = min(AT_MOST, self._left + SHARE)

    def spend(self) -> bool:
        """Whether another call may be made; it counts as made."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class CallTimes:
    """How long calls took of late; `long`, in seconds, is what 19 of 20 stay below, None while too few are known."""

    def __init__(self) -> None:
        self.long: float | None = None
        self._times: deque[float] = deque(maxlen=TIMES_KEPT)
        self._new = 0

    def add(self, seconds: float) -> None:
        self._times.append(seconds)
        self._new += 1
        if self._new == TIMES_BETWEEN:
            self._new = 0
            self.long = sorted(self._times)[int(len(self._times) * QUANTILE)]


class Calls:
    """Calls operations of the store."""

    def __init__(self, client: StoreClient, cells: Cells) -> None:
        self.extra = ExtraCalls()
        self._cells = cells
        self._client = client
        self._times = CallTimes()

    async def call(self, operation: str, request: Json, *, turn: Turn | None = None) -> Json:
        """The first answer of one call or, where it takes longer than 19 of 20 do, of two; raises `StoreError`."""
        body, loop = orjson.dumps(request), asyncio.get_running_loop()
        begun = loop.time()
        tasks = [asyncio.ensure_future(self._client.send(operation, body, turn=turn))]
        try:
            await asyncio.wait(tasks, timeout=self._times.long)
            if not tasks[0].done() and self.extra.spend():
                self._cells.add((STORE_READS, "hedge"))
                tasks.append(asyncio.ensure_future(self._client.send(operation, body, turn=turn)))
            answer = await (first_success(tasks) if len(tasks) > 1 else tasks[0])
        finally:
            for task in tasks:
                if not task.cancel() and not task.cancelled():
                    task.exception()  # of a call that another one outran nobody needs to know
        self._times.add(loop.time() - begun)
        return answer


async def first_success(tasks: list[asyncio.Task[Json]]) -> Json:
    """The result of whichever succeeds first; the failure of the last where none does."""
    failure: StoreError | None = None
    for next_done in asyncio.as_completed(tasks):
        try:
            return await next_done
        except StoreError as error:
            failure = error
    assert failure is not None
    raise failure
