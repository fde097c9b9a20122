"""Ask a reader from Python, in a thread or in an event loop, and get columns back."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Required, Self, TypedDict, Unpack

import aiohttp
import orjson
import urllib3

from serving.common.interface import (
    ARROW,
    BUDGET_HEADER,
    COMPACT,
    FEATURES_PATH,
    IDEMPOTENCY_HEADER,
    PRESENT,
    WRITE_PATH,
)
from tailrace.errors import UnavailableError
from tailrace.extras import explain_missing

if TYPE_CHECKING:
    from serving.client_tables import Features

PATIENCE_SECONDS = 10.0  # for an answer; what a reader takes is set by the budget

Id = str | int | date
Ids = Sequence[Id] | Id


class ReaderError(UnavailableError):
    """A request that was not answered: the reader's status and why; `retry_after` in seconds if the reader sent it."""

    def __init__(self, status: int, detail: str, retry_after: float | None) -> None:
        super().__init__(f"the reader answered {status}: {detail}")
        self.status = status
        self.retryable = status >= 500
        self.detail = detail
        self.retry_after = retry_after


class Columns:
    """An answer as plain lists: a column per feature, a row per row of entity keys; times are text, as JSON has them.

    `views` has lane, watermark and age of each view.
    """

    def __init__(self, body: bytes) -> None:
        answer = orjson.loads(body)
        self.rows: int = answer["rows"]
        self.views: dict[str, Any] = answer["views"]
        self._features: dict[str, dict[str, Any]] = answer["features"]

    @property
    def names(self) -> list[str]:
        """The names of the features, in the order in which they were asked for."""
        return list(self._features)

    def values(self, name: str) -> list[Any]:
        """The values of one feature, None if there is none."""
        values: list[Any] = self._features[name]["values"]
        return values

    def statuses(self, name: str) -> list[str]:
        """Per row `PRESENT`, or why the value is missing."""
        statuses = [PRESENT] * self.rows
        for status, rows in self._features[name].get("statuses", {}).items():
            for row in rows:
                statuses[row] = status
        return statuses

    def times(self, name: str) -> list[str | None]:
        """Per row when the value last changed, None if there is none; raises `KeyError` unless asked for."""
        times: list[str | None] = self._features[name]["times"]
        return times


class Question(TypedDict, total=False):
    """The rest of a request, next to the names of features: those of a service, for which rows, within how many milliseconds."""

    service: str
    entities: Required[Mapping[str, Ids]]
    budget_ms: float
    times: bool


class EntityWrite(TypedDict, total=False):
    """One entity to write: its key, the time from which on the write holds (by default now), and its features or that
    it is removed.
    """

    keys: Required[Mapping[str, Id]]
    occurred_at: str
    values: Mapping[str, Any]
    removed: bool


class WriteResult(TypedDict, total=False):
    """The result of writing one entity: `WRITTEN`, `STALE` if the store has a later value, of `stored_at`, or `INVALID`,
    with `detail`.
    """

    status: Required[str]
    occurred_at: str
    stored_at: str | None
    detail: str


class Asking:
    """The base of both clients: where the reader is, and the key to ask with."""

    def __init__(self, url: str, *, key: str | None = None, patience: float = PATIENCE_SECONDS) -> None:
        self._write_url = url.rstrip("/") + WRITE_PATH
        self._url = url.rstrip("/") + FEATURES_PATH
        self._key = key
        self._patience = patience


class Client(Asking):
    """Asks a reader over kept-alive connections; may be shared by threads."""

    def __init__(self, url: str, *, key: str | None = None, patience: float = PATIENCE_SECONDS) -> None:
        super().__init__(url, key=key, patience=patience)
        self._pool = urllib3.PoolManager(timeout=patience, retries=False, maxsize=16)

    def features(self, names: Sequence[str] = (), **question: Unpack[Question]) -> "Features":
        """Features by `names`, or those of a service, as arrays and tables; needs the extra `arrow`.

        Raises `ReaderError`, and `urllib3.exceptions.HTTPError`.
        """
        features = features_class()
        return features(self._ask(names, question, ARROW))

    def columns(self, names: Sequence[str] = (), **question: Unpack[Question]) -> Columns:
        """The same as plain lists, which needs neither pyarrow nor numpy."""
        return Columns(self._ask(names, question, COMPACT))

    def _ask(self, names: Sequence[str], question: Question, form: str) -> bytes:
        body, headers = request_body(names, question), request_headers(self._key, question.get("budget_ms"), form)
        answer = self._pool.request("POST", self._url, body=body, headers=headers)
        return answer_body(answer.status, answer.data, answer.headers.get("Retry-After"))

    def write(
        self, view: str, entities: Sequence[EntityWrite], *, idempotency_key: str | None = None
    ) -> list[WriteResult]:
        """Write values of a view of the lane direct, and return the result of each.

        Raises `ReaderError` if the answer has no results of single entities, and `urllib3.exceptions.HTTPError`; then a write may
        be sent again, best under an idempotency key.
        """
        body, headers = write_body(view, entities), write_headers(self._key, idempotency_key)
        answer = self._pool.request("POST", self._write_url, body=body, headers=headers)
        return results_in(answer.status, answer.data, answer.headers.get("Retry-After"))

    def close(self) -> None:
        self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(Asking):
    """The same in an event loop: `async with AsyncClient(url) as client: await client.features(…)`."""

    async def features(self, names: Sequence[str] = (), **question: Unpack[Question]) -> "Features":
        """As `Client.features`; raises `ReaderError`, `aiohttp.ClientError` and `TimeoutError`."""
        features = features_class()
        return features(await self._ask(names, question, ARROW))

    async def columns(self, names: Sequence[str] = (), **question: Unpack[Question]) -> Columns:
        """As `Client.columns`."""
        return Columns(await self._ask(names, question, COMPACT))

    async def _ask(self, names: Sequence[str], question: Question, form: str) -> bytes:
        body, headers = request_body(names, question), request_headers(self._key, question.get("budget_ms"), form)
        async with self._session.post(self._url, data=body, headers=headers) as answer:
            return answer_body(answer.status, await answer.read(), answer.headers.get("Retry-After"))

    async def write(
        self, view: str, entities: Sequence[EntityWrite], *, idempotency_key: str | None = None
    ) -> list[WriteResult]:
        """As `Client.write`; raises `ReaderError`, `aiohttp.ClientError` and `TimeoutError`."""
        body, headers = write_body(view, entities), write_headers(self._key, idempotency_key)
        async with self._session.post(self._write_url, data=body, headers=headers) as answer:
            return results_in(answer.status, await answer.read(), answer.headers.get("Retry-After"))

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._patience))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


def features_class() -> "type[Features]":
    """The class of answers as tables; raises `MissingExtra` if numpy or pyarrow is not installed."""
    with explain_missing("arrow"):
        from serving.client_tables import Features

    return Features


def request_body(names: Sequence[str], question: Question) -> bytes:
    entities = {key: json_ids(ids) for key, ids in question["entities"].items()}
    body: dict[str, Any] = {"entities": entities, "times": question.get("times", False)}
    body |= {"features": list(names)} if names else {}
    body |= {"feature_service": question["service"]} if "service" in question else {}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def json_ids(ids: Any) -> Any:
    if isinstance(ids, Id):
        return ids
    # Days of numpy are times to the serialiser, and dates where numpy itself makes a list of them.
    return ids.tolist() if hasattr(ids, "tolist") else list(ids)


def request_headers(key: str | None, budget_ms: float | None, form: str) -> dict[str, str]:
    headers = {"Accept": form, "Accept-Encoding": "identity", "Content-Type": "application/json"}
    headers |= {} if key is None else {"Authorization": f"Bearer {key}"}
    return headers | ({} if budget_ms is None else {BUDGET_HEADER: f"{budget_ms:g}"})


def write_body(view: str, entities: Sequence[EntityWrite]) -> bytes:
    return orjson.dumps({"view": view, "entities": list(entities)}, option=orjson.OPT_SERIALIZE_NUMPY)


def write_headers(key: str | None, idempotency_key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    headers |= {} if key is None else {"Authorization": f"Bearer {key}"}
    return headers | ({} if idempotency_key is None else {IDEMPOTENCY_HEADER: idempotency_key})


def results_in(status: int, body: bytes, retry_after: str | None) -> list[WriteResult]:
    try:
        results: list[WriteResult] = orjson.loads(body)["results"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise refusal(status, body, retry_after) from None
    return results


def answer_body(status: int, body: bytes, retry_after: str | None) -> bytes:
    if status == 200:
        return body
    raise refusal(status, body, retry_after)


def refusal(status: int, body: bytes, retry_after: str | None) -> ReaderError:
    try:
        detail = str(orjson.loads(body)["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        detail = body[:200].decode(errors="replace")
    # A proxy on the way may send a date, which nobody here waits for.
    return ReaderError(status, detail, float(retry_after) if retry_after and retry_after.isdecimal() else None)
