"""Calls of one table in DynamoDB's protocol, tried again within bounds, and the items that they answer.

An item is an entity key with two attributes per view, its value and its sequence. Answers are parsed where they enter: a field
that is absent, null or of another type is the same.
"""

import asyncio
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson
import pybase64

from tailrace.store.dynamodb.connections import Connections, Signer, credentials_for
from tailrace.store.failures import Patience, StoreError, delay_after
from tailrace.store.pace import USUAL, Limits
from tailrace.store.port import KEYS_PER_READ, Item

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
    """The JSON object in an answer; None where it is something else."""
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


LONGEST_NUMBER = 40  # digits; DynamoDB's numbers have at most 38

KEY = "pk"
CONTROL_PREFIX = "#control|"  # no entity name begins with #
READ_MANY = "BatchGetItem"
READ_ROUNDS = 8  # how often keys that the store left unprocessed are asked for again


def object_in(answer: object, name: str) -> dict[str, Any]:
    """An object in an object; empty where there is none."""
    found = answer.get(name) if isinstance(answer, Mapping) else None
    return found if isinstance(found, dict) else {}


def list_in(answer: object, name: str) -> list[Any]:
    """A list in an object; empty where there is none."""
    found = answer.get(name) if isinstance(answer, Mapping) else None
    return found if isinstance(found, list) else []


def text_in(item: object, attribute: str) -> str | None:
    """A text of an item; None where it has none."""
    found = object_in(item, attribute).get("S")
    return found if isinstance(found, str) else None


def texts_in(item: object, attribute: str) -> list[str]:
    """The set of texts of an item, in a fixed order; empty where it has none."""
    return sorted(one for one in list_in(object_in(item, attribute), "SS") if isinstance(one, str))


def whole_in(item: object, attribute: str) -> int | None:
    """A whole number of an item; None where it has none."""
    found = object_in(item, attribute).get("N")
    if not isinstance(found, str) or len(found) > LONGEST_NUMBER:
        return None
    try:
        return int(found)
    except ValueError:
        return None


def flag_in(item: object, attribute: str) -> bool | None:
    """True or false of an item; None where it has neither."""
    found = object_in(item, attribute).get("BOOL")
    return found if isinstance(found, bool) else None


def binary_in(item: object, attribute: str) -> bytes | None:
    """Bytes of an item; None where it has none."""
    found = object_in(item, attribute).get("B")
    try:
        return pybase64.b64decode(found, validate=True) if isinstance(found, str) else None
    except (ValueError, binascii.Error):
        return None


def control_key(view: str) -> str:
    """The key of a view's control item."""
    return CONTROL_PREFIX + view


def view_of_control(item_key: str) -> str | None:
    """The view whose control item has this key; None for any other item."""
    return item_key.removeprefix(CONTROL_PREFIX) if item_key.startswith(CONTROL_PREFIX) else None


def sequence_attribute(view: str) -> str:
    """The attribute with the sequence of a view's value."""
    return f"{view}#s"


async def read_items(
    client: StoreClient, keys: Iterable[str], attributes: Sequence[str], *, consistent: bool = True
) -> dict[str, Item]:
    """Read some attributes of many items, by item key; what is not in the store is not in the answer.

    A publisher reads its own writes back; a reader that may be a moment behind pays half for each item.
    """
    unique = list(dict.fromkeys(keys))
    parts = [unique[i : i + KEYS_PER_READ] for i in range(0, len(unique), KEYS_PER_READ)]
    answers = await asyncio.gather(*(_read_part(client, part, attributes, consistent=consistent) for part in parts))
    return {key: item for answer in answers for key, item in answer.items()}


async def _read_part(
    client: StoreClient, keys: list[str], attributes: Sequence[str], *, consistent: bool
) -> dict[str, Item]:
    found: dict[str, Item] = {}
    for attempt in range(1, READ_ROUNDS + 1):
        request = read_request(client.table, keys, attributes, consistent=consistent)
        items, keys = items_answered(await client.call(READ_MANY, request), client.table)
        found |= items
        if not keys:
            return found
        await asyncio.sleep(delay_after(attempt))
    raise StoreError("Unprocessed", f"{len(keys)} keys were still unprocessed after {READ_ROUNDS} rounds")


def read_request(table: str, keys: Iterable[str], attributes: Sequence[str], *, consistent: bool) -> Json:
    """One BatchGetItem; of at most `KEYS_PER_READ` keys, none of them twice."""
    names, projection = projected(attributes)
    asked: Json = {"Keys": [{KEY: {"S": key}} for key in keys], "ConsistentRead": consistent}
    asked |= {"ProjectionExpression": projection, "ExpressionAttributeNames": names}
    return {"RequestItems": {table: asked}}


def items_answered(answer: Json, table: str) -> tuple[dict[str, Item], list[str]]:
    """What a BatchGetItem answered: the items by key, and the keys that it left unprocessed."""
    responses = answer.get("Responses")
    if not isinstance(responses, dict):
        raise StoreError("Unreadable", "BatchGetItem answered without Responses")
    unprocessed = object_in(object_in(answer, "UnprocessedKeys"), table)
    try:
        items = {item[KEY]["S"]: item for item in list_in(responses, table)}
        return items, [key[KEY]["S"] for key in list_in(unprocessed, "Keys")]
    except (KeyError, TypeError) as error:
        raise StoreError("Unreadable", f"BatchGetItem answered with an item without its key: {error}") from error


async def scan(
    client: StoreClient,
    attributes: Sequence[str],
    *,
    segment: int = 0,
    segments: int = 1,
    having: str | tuple[str, ...] = (),
) -> AsyncIterator[list[Item]]:
    """Read some attributes of every item of one segment of the table, or of those `having` one of some, page by page."""
    names, projection = projected(attributes)
    request: dict[str, Any] = {"TableName": client.table, "ConsistentRead": True}
    request |= {"ProjectionExpression": projection, "ExpressionAttributeNames": names}
    request |= {"Segment": segment, "TotalSegments": segments}
    if having:
        had = {f"#h{i}": name for i, name in enumerate([having] if isinstance(having, str) else having)}
        names |= had
        request |= {"FilterExpression": " OR ".join(f"attribute_exists({name})" for name in had)}
    while True:
        answer = await client.call("Scan", request)
        if not isinstance(answer.get("Items"), list):
            raise StoreError("Unreadable", "Scan answered without Items")
        yield answer["Items"]
        if not (last := object_in(answer, "LastEvaluatedKey")):
            return
        request["ExclusiveStartKey"] = last


def projected(attributes: Sequence[str]) -> tuple[dict[str, str], str]:
    """Names for an expression: a view's name may be a reserved word, and `#` is none of its characters."""
    names = {f"#a{i}": name for i, name in enumerate((KEY, *attributes))}
    return names, ", ".join(names)


def binary(item: Mapping[str, Mapping[str, Any]], attribute: str) -> bytes | None:
    """A binary attribute of an item; None where it has none."""
    value = item.get(attribute)
    return None if value is None else pybase64.b64decode(value["B"])


def key_in(item: Mapping[str, Mapping[str, Any]]) -> str:
    """The key of an item; raises `KeyError`."""
    key: str = item[KEY]["S"]
    return key


def sequence_in(item: Mapping[str, Mapping[str, Any]], view: str) -> int:
    """The sequence under which an item's value of a view was written; raises `KeyError`."""
    return int(item[sequence_attribute(view)]["N"])


def to_binary(value: bytes) -> dict[str, str]:
    """Bytes as an attribute."""
    return {"B": pybase64.b64encode(value).decode()}
