"""Ask a reader from Python, in a thread or in an event loop, and get columns back."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Required, Self, TypedDict, Unpack

import aiohttp
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import urllib3

from serving.answers.arrow import METADATA
from serving.http.budget import HEADER as BUDGET
from serving.http.negotiate import ARROW
from serving.read.columns import STATUSES, Array, Found
from serving.write.idempotency import HEADER as IDEMPOTENCY_KEY
from tailrace.errors import UnavailableError

if TYPE_CHECKING:
    import pandas as pd

PATH = "/get-online-features"
WRITE_PATH = "/v1/write"
PATIENCE_SECONDS = 10.0  # for an answer; what a reader takes is set by the budget

Ids = Sequence[str] | Sequence[int] | str | int


class ReaderError(UnavailableError):
    """A request that was not answered: the reader's status and why; `retry_after` in seconds where it told one."""

    def __init__(self, status: int, detail: str, retry_after: float | None) -> None:
        super().__init__(f"the reader answered {status}: {detail}")
        self.status = status
        self.retryable = status >= 500
        self.detail = detail
        self.retry_after = retry_after


class Features:
    """An answer: a column per feature, a row per row of entity keys.

    `table` has the values, null where there is none; `views` what is told of each view: lane, watermark and age.
    """

    def __init__(self, stream: bytes) -> None:
        whole = pa.ipc.open_stream(stream).read_all()
        told = orjson.loads(whole.schema.metadata[METADATA])
        self.views: dict[str, Any] = told["views"]
        self.table: pa.Table = whole.select([name for name in whole.column_names if not name.startswith("#")])
        self._beside: pa.Table = whole
        self._found: dict[str, str] = told["found"]
        self._times: dict[str, str] = told["times"]

    def numpy(self, name: str, *, missing: Any = None) -> Array:
        """The values of one feature, `missing` where there is none; raises `ValueError` where that is needed and None."""
        column = self.table[name]
        if column.null_count:
            if missing is None:
                rows = np.flatnonzero(column.is_null().to_numpy()).tolist()
                raise ValueError(
                    f"feature {name!r} has no value in rows {rows[:10]}; say what stands for it: missing=…"
                )
            column = pc.fill_null(column, pa.scalar(missing, column.type))
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us"))  # numpy knows no time zones; these are UTC
        values: Array = column.to_numpy()
        return values

    def statuses(self, name: str) -> Array:
        """Per row `PRESENT`, or why there is no value."""
        valid = self.table[name].is_valid().to_numpy()
        found = self._beside[self._found[name]].to_numpy() if name in self._found else np.uint8(Found.FOUND)
        statuses: Array = STATUSES[found + valid]
        return statuses

    def times(self, name: str) -> Array:
        """Per row when the value last changed, NaT where there is none; raises `KeyError` unless asked for."""
        times: Array = self._beside[self._times[name]].cast(pa.timestamp("us")).to_numpy()
        return times

    def pandas(self) -> "pd.DataFrame":
        """A frame of Arrow-backed columns, so that integers with nulls stay integers."""
        import pandas as pd

        frame: pd.DataFrame = self.table.to_pandas(types_mapper=pd.ArrowDtype)
        return frame


class Question(TypedDict, total=False):
    """What is asked beside the names of features: those of a service, for which rows, within how many milliseconds."""

    service: str
    entities: Required[Mapping[str, Ids]]
    budget_ms: float
    times: bool


class Entity(TypedDict, total=False):
    """What is written of one entity: its key, the time from which on it holds (by default now), and its features or that
    it is removed.
    """

    keys: Required[Mapping[str, str | int]]
    occurred_at: str
    values: Mapping[str, Any]
    removed: bool


class Result(TypedDict, total=False):
    """What became of one entity: `WRITTEN`, `STALE` where the store has a later value, of `stored_at`, or `INVALID`, with
    `detail`.
    """

    status: Required[str]
    occurred_at: str
    stored_at: str | None
    detail: str


class Asking:
    """What both clients know: where the reader is, and with which key to ask."""

    def __init__(self, url: str, *, key: str | None = None, patience: float = PATIENCE_SECONDS) -> None:
        self._write_url = url.rstrip("/") + WRITE_PATH
        self._url = url.rstrip("/") + PATH
        self._key = key
        self._patience = patience


class Client(Asking):
    """Asks a reader over kept-alive connections; may be shared by threads."""

    def __init__(self, url: str, *, key: str | None = None, patience: float = PATIENCE_SECONDS) -> None:
        super().__init__(url, key=key, patience=patience)
        self._pool = urllib3.PoolManager(timeout=patience, retries=False, maxsize=16)

    def features(self, names: Sequence[str] = (), **question: Unpack[Question]) -> Features:
        """Features by `names`, or those of a service. Raises `ReaderError`, and `urllib3.exceptions.HTTPError`."""
        body, headers = request_body(names, question), request_headers(self._key, question.get("budget_ms"))
        answer = self._pool.request("POST", self._url, body=body, headers=headers)
        return told(answer.status, answer.data, answer.headers.get("Retry-After"))

    def write(self, view: str, entities: Sequence[Entity], *, idempotency_key: str | None = None) -> list[Result]:
        """Write values of a view of the lane direct, and tell what became of each.

        Raises `ReaderError` where nothing is told of single entities, and `urllib3.exceptions.HTTPError`; then a write may
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

    async def features(self, names: Sequence[str] = (), **question: Unpack[Question]) -> Features:
        """As `Client.features`; raises `ReaderError`, `aiohttp.ClientError` and `TimeoutError`."""
        body, headers = request_body(names, question), request_headers(self._key, question.get("budget_ms"))
        async with self._session.post(self._url, data=body, headers=headers) as answer:
            return told(answer.status, await answer.read(), answer.headers.get("Retry-After"))

    async def write(self, view: str, entities: Sequence[Entity], *, idempotency_key: str | None = None) -> list[Result]:
        """As `Client.write`; raises `ReaderError`, `aiohttp.ClientError` and `TimeoutError`."""
        body, headers = write_body(view, entities), write_headers(self._key, idempotency_key)
        async with self._session.post(self._write_url, data=body, headers=headers) as answer:
            return results_in(answer.status, await answer.read(), answer.headers.get("Retry-After"))

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._patience))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


def request_body(names: Sequence[str], question: Question) -> bytes:
    entities = {key: told_ids(ids) for key, ids in question["entities"].items()}
    body: dict[str, Any] = {"entities": entities, "times": question.get("times", False)}
    body |= {"features": list(names)} if names else {}
    body |= {"feature_service": question["service"]} if "service" in question else {}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def told_ids(ids: Any) -> Any:
    return ids if isinstance(ids, str | int) else list(ids)


def request_headers(key: str | None, budget_ms: float | None) -> dict[str, str]:
    headers = {"Accept": ARROW, "Accept-Encoding": "identity", "Content-Type": "application/json"}
    headers |= {} if key is None else {"Authorization": f"Bearer {key}"}
    return headers | ({} if budget_ms is None else {BUDGET: f"{budget_ms:g}"})


def write_body(view: str, entities: Sequence[Entity]) -> bytes:
    return orjson.dumps({"view": view, "entities": list(entities)}, option=orjson.OPT_SERIALIZE_NUMPY)


def write_headers(key: str | None, idempotency_key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    headers |= {} if key is None else {"Authorization": f"Bearer {key}"}
    return headers | ({} if idempotency_key is None else {IDEMPOTENCY_KEY: idempotency_key})


def results_in(status: int, body: bytes, retry_after: str | None) -> list[Result]:
    try:
        results: list[Result] = orjson.loads(body)["results"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise refusal(status, body, retry_after) from None
    return results


def told(status: int, body: bytes, retry_after: str | None) -> Features:
    if status == 200:
        return Features(body)
    raise refusal(status, body, retry_after)


def refusal(status: int, body: bytes, retry_after: str | None) -> ReaderError:
    try:
        detail = str(orjson.loads(body)["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        detail = body[:200].decode(errors="replace")
    # A proxy on the way may tell a date, which nobody here waits for.
    return ReaderError(status, detail, float(retry_after) if retry_after and retry_after.isdecimal() else None)
