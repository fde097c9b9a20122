"""A store in this process that is slow, overloaded or throttles, in a loop whose time passes when there is nothing to do."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

from tailrace.store.dynamodb.calls import CONTROL_PREFIX, store_error
from tailrace.store.dynamodb.conditional_writes import of_attribute, to_attribute
from tailrace.store.failures import Patience
from tailrace.store.order import Order

EXCHANGE_SECONDS = 10.0  # as the real client's

Arguments = TypeVarTuple("Arguments")
Answer = TypeVar("Answer")


class HeldTime(selectors.DefaultSelector):
    """Waits for nothing: the time that a loop would wait for has passed."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class HeldLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while anything is done; what goes to a thread is done at once."""

    def __init__(self) -> None:
        self._held = HeldTime()
        super().__init__(self._held)

    def time(self) -> float:
        return self._held.now

    def run_in_executor(
        self, _: Executor | None, func: Callable[[Unpack[Arguments]], Answer], *args: *Arguments
    ) -> asyncio.Future[Answer]:
        done: asyncio.Future[Answer] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - for whoever waits for it
            done.set_exception(error)
        return done


class SlowStore:
    """Orders values as DynamoDB does. `sends` counts the values that it was sent, `held` is what it holds by item key.

    A value takes `latency` seconds; of `per_second` values no more are written, the others wait in line or, where it
    `throttles`, are refused.
    """

    table = "slow"

    def __init__(self, *, latency: float = 0.0, per_second: float = float("inf"), throttles: bool = False) -> None:
        self.latency, self.per_second, self.throttles = latency, per_second, throttles
        self.sends = 0
        self.held: dict[str, tuple[Order, Any]] = {}
        self._revision = 0
        self._free_at = 0.0
        self._late: set[asyncio.Task[Any]] = set()

    def be_patient(self) -> Patience:
        return Patience(attempts=4)

    async def call(self, operation: str, request: Any, **_: Any) -> Any:
        if operation == "DescribeTable":
            return {"Table": {"TableStatus": "ACTIVE"}}
        if operation == "GetItem":  # whose table it is
            return {}
        rows = [one["Update"] for one in request["TransactItems"]] if "TransactItems" in request else [request]
        if rows[0]["Key"]["pk"]["S"].startswith(CONTROL_PREFIX):
            return self._control(request)
        self.sends += len(rows)
        task = asyncio.ensure_future(self._serve(rows))
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                return await asyncio.shield(task)  # what nobody waits for any more is written nevertheless
        except TimeoutError as error:
            raise store_error("Unreachable", "TimeoutError") from error

    def _control(self, request: Any) -> Any:
        values = request["ExpressionAttributeValues"]
        self._revision += int(values[":count"]["N"]) if ":count" in values else 0
        return {"Attributes": {"revision": {"N": str(self._revision)}, "sequence": {"N": "1"}}}

    async def _serve(self, rows: list[Any]) -> Any:
        loop = asyncio.get_running_loop()
        if self.throttles and self._free_at > loop.time():
            raise store_error("ProvisionedThroughputExceededException", "slow down", {"status": 400})
        self._free_at = max(self._free_at, loop.time()) + len(rows) / self.per_second
        await asyncio.sleep(self.latency if self.throttles else max(self.latency, self._free_at - loop.time()))
        return self._write(rows)

    def _write(self, rows: list[Any]) -> Any:
        before = [self._later_than(row) for row in rows]
        if any(before):
            reasons = [
                {"Code": "ConditionalCheckFailed", "Item": item} if item else {"Code": "None"} for item in before
            ]
            if len(rows) > 1:
                raise store_error("TransactionCanceledException", "", {"CancellationReasons": reasons})
            raise store_error("ConditionalCheckFailedException", "", {"Item": before[0]})
        answer = {}
        for row in rows:
            key, values = row["Key"]["pk"]["S"], row["ExpressionAttributeValues"]
            if key in self.held:
                answer = {"Attributes": self._item(row)}
            self.held[key] = (of_attribute(values[":t"]), values[":v"])
        return answer

    def _later_than(self, row: Any) -> Any:
        held = self.held.get(row["Key"]["pk"]["S"])
        order = of_attribute(row["ExpressionAttributeValues"][":t"])
        return self._item(row) if held is not None and held[0] > order else None

    def _item(self, row: Any) -> Any:
        order, value = self.held[row["Key"]["pk"]["S"]]
        names = row["ExpressionAttributeNames"]
        return {names["#v"]: value, names["#s"]: {"N": "1"}, names["#t"]: to_attribute(order)}
