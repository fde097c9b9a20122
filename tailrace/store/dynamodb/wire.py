"""A client of the DynamoDB wire protocol: signed JSON over kept-alive HTTP, retried within bounds."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson

from tailrace.store.dynamodb.connections import Connections
from tailrace.store.dynamodb.credentials import credentials_for
from tailrace.store.dynamodb.signing import Signer
from tailrace.store.failures import Patience, StoreError
from tailrace.store.pace import USUAL, Limits

# What passes by itself: another write to the same item at the same moment, a signature by a clock that was wrong or with
# credentials that are no longer good.
PASSING = frozenset(
    {"ClockSet", "CredentialsRenewed", "ReplicatedWriteConflictException", "TransactionConflictException"}
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
# One row cannot be written, whatever becomes of the others.
OWN_REFUSALS = frozenset(
    {"ValidationException", "ItemCollectionSizeLimitExceededException", "SerializationException", "413"}
)

Json = dict[str, Any]
Turn = Callable[[], Awaitable[None]]


class StoreClient:
    """Calls operations of one table, and counts its requests and the bytes sent; make it with `open_client`."""

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
                if not error.is_transient:
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
        raise store_error(code, f"{operation}: {message}", answer | {"status": reply.status})


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


def store_error(code: str, message: str, details: Json | None = None) -> StoreError:
    """An error of the protocol, with what its code and status mean."""
    status = (details or {}).get("status", 0)
    return StoreError(
        code,
        message,
        details,
        is_transient=code in PASSING or status >= 500,
        is_throttling=code in THROTTLED or status in (429, 503),
        is_refusal=code in OWN_REFUSALS,
        is_missing=code == "ResourceNotFoundException",
    )


@asynccontextmanager
async def open_client(
    *, url: str, region: str, table: str, patience: float | None = None, limits: Limits = USUAL
) -> AsyncIterator[StoreClient]:
    """Open a client with its own pool of connections; `patience` is how many seconds a call is tried."""
    connections = Connections(url, limits)
    try:
        yield StoreClient(connections, url=url, region=region, table=table, patience=patience)
    finally:
        await connections.close()
