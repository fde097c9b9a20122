"""A client of the DynamoDB wire protocol: signed JSON over kept-alive HTTP, retried within bounds."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson

from tailrace.errors import UnavailableError
from tailrace.store.dynamodb.connections import USUAL, Connections, Limits
from tailrace.store.dynamodb.credentials import credentials_for
from tailrace.store.dynamodb.signing import Signer

ATTEMPTS = 8  # of a reader, who has somebody waiting
PATIENCE_SECONDS = 120  # of a writer, who had rather be slow than fail
FIRST_DELAY_SECONDS = 0.05
LONGEST_DELAY_SECONDS = 2.0

# What the next attempt need not meet: no answer, half an answer, another write to the same item at the same moment,
# a signature by a clock that was wrong or with credentials that are no longer good.
PASSING = frozenset(
    {
        "ClockSet",
        "CredentialsRenewed",
        "ReplicatedWriteConflictException",
        "TransactionConflictException",
        "Unreachable",
        "Unreadable",
    }
)
EXPIRED = frozenset({"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException"})
MISSIGNED = frozenset({"InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed"})
THROTTLED = frozenset(
    {
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "TransactionInProgressException",
        "LimitExceededException",
    }
)

Json = dict[str, Any]
Turn = Callable[[], Awaitable[None]]


class StoreError(UnavailableError):
    """The online store refused a request or could not be reached; `code` is the store's own name for it."""

    def __init__(self, code: str, message: str, details: Json | None = None) -> None:
        super().__init__(f"online store: {code}: {message}")
        self.code = code
        self.message = message
        self.details = details or {}


class Patience:
    """How long one request is tried: so many attempts or, where seconds are given, so long."""

    def __init__(self, *, attempts: int = ATTEMPTS, seconds: float | None = None) -> None:
        self._attempts = attempts
        self._seconds = seconds
        self._began = time.monotonic()
        self._made = 0

    def begin_again(self, progress: float | None) -> None:
        """Count from the first attempt, or from when something else last went through, on the monotonic clock."""
        if self._made == 0:
            self._began = time.monotonic()
        elif progress is not None:
            self._began = max(self._began, progress)

    async def wait_after(self, failure: StoreError) -> None:
        """Wait for the next attempt; raises the failure where there is none."""
        self._made += 1
        if self._seconds is None:
            if self._made >= self._attempts:
                raise failure
        elif time.monotonic() - self._began >= self._seconds:
            message = f"{failure.message}; gave up after {self._made} attempts in {self._seconds:g} s"
            raise StoreError(failure.code, message, failure.details) from failure
        await asyncio.sleep(delay_after(self._made))


class StoreClient:
    """Calls operations of one table, and counts its requests and the bytes sent; make it with `open_store`."""

    def __init__(
        self, connections: Connections, *, url: str, region: str, table: str, patience: float | None = None
    ) -> None:
        self.table = table
        self.requests = 0
        self.bytes_sent = 0
        self._patience = patience
        self._connections = connections
        self._url = url
        self._credentials = credentials_for(url)
        self._signer = Signer(host=urlsplit(url).netloc, region=region)

    def be_patient(self) -> Patience:
        """The bounds of one request: this client's seconds of patience, or the attempts of one that has none."""
        return Patience(seconds=self._patience)

    async def call(
        self, operation: str, request: Json, *, attempts: int | None = None, within: float | None = None
    ) -> Json:
        """Make one call; throttling, server errors and lost connections are tried again with growing, random delays.

        Each attempt waits for a connection for at most `within` seconds.
        """
        body = orjson.dumps(request)
        patience = self.be_patient() if attempts is None else Patience(attempts=attempts)
        while True:
            try:
                return await self.send(operation, body, within=within)
            except StoreError as error:
                if not is_transient(error):
                    raise
                await patience.wait_after(error)

    async def send(self, operation: str, body: bytes, *, turn: Turn | None = None, within: float | None = None) -> Json:
        """Send an encoded request once, if a connection is free within so many seconds.

        Where there is a `turn`, the answer is read after that.
        """
        self.requests += 1
        self.bytes_sent += len(body)
        try:
            headers = self._signer.headers(operation, body, self._credentials.current())
            reply = await self._connections.post(headers, body, within=within)
        except OSError as error:  # a time-out is one as well
            raise StoreError("Unreachable", f"{self._url}: {type(error).__name__} {error}".rstrip()) from error
        if turn is not None:
            await turn()
        answer = parse(reply.body)
        if answer is None:
            message = f"{operation} answered {reply.status} with {len(reply.body)} bytes that are not a JSON object"
            raise StoreError("Unreadable", message)
        if reply.status == 200:
            return answer
        code = str(answer.get("__type") or reply.status).rpartition("#")[2]
        message = answer.get("message") or answer.get("Message") or f"HTTP {reply.status}"
        if code in EXPIRED and await self._credentials.renew():
            code = "CredentialsRenewed"
        elif code in MISSIGNED and self._signer.set_clock(reply.date):
            code = "ClockSet"
        raise StoreError(code, f"{operation}: {message}", answer | {"status": reply.status})


async def call_if(client: StoreClient, operation: str, request: Json) -> bool:
    """Make a conditional call; False where its condition does not hold."""
    try:
        await client.call(operation, request)
    except StoreError as error:
        if error.code == "ConditionalCheckFailedException":
            return False
        raise
    return True


def parse(raw: bytes) -> Json | None:
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def is_transient(error: StoreError) -> bool:
    """Whether the same request may succeed later."""
    return is_throttling(error) or error.code in PASSING or error.details.get("status", 0) >= 500


def is_throttling(error: StoreError) -> bool:
    return error.code in THROTTLED or error.details.get("status") in (429, 503)


def delay_after(attempt: int) -> float:
    """Seconds to wait: random up to a bound that doubles (https://aws.amazon.com/builders-library/, jitter)."""
    return random.uniform(0, min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(attempt, 32)))


@asynccontextmanager
async def open_store(
    *, url: str, region: str, table: str, patience: float | None = None, limits: Limits = USUAL
) -> AsyncIterator[StoreClient]:
    """Open a client with its own pool of connections; `patience` is how many seconds a call is tried."""
    connections = Connections(url, limits)
    try:
        yield StoreClient(connections, url=url, region=region, table=table, patience=patience)
    finally:
        await connections.close()
