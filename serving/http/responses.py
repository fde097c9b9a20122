"""Responses: answers in the form that a request's headers accept, or the reason why there is none."""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache

import orjson
import zstandard
from aiohttp import web

from serving import answers
from serving.answers import Answer
from serving.common.interface import ARROW, COMPACT, FEAST
from serving.common.loop import Steps
from serving.common.messages import LONGEST_DETAIL, LONGEST_LINE, brief, of_store, one_line
from serving.http.admission import ClientLeft
from serving.read.columns import OnDemandError
from serving.telemetry.requests import TIMING
from tailrace.errors import TailraceError, UsageError
from tailrace.store.direct.log import LogError
from tailrace.store.failures import StoreError

WRITERS: dict[str, Callable[[Answer], Steps]] = {
    FEAST: answers.to_feast,
    COMPACT: answers.to_compact,
    ARROW: answers.to_arrow_stream,
}
ENCODINGS = ("zstd", "gzip", "identity")
SMALLEST = 1_024  # bytes; less is not worth the time
LARGEST_AT_ONCE = 2**18  # bytes; what is more keeps the event loop too long
HEADERS_KEPT = 256

RETRY_SECONDS = 1
log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class NotAcceptable(UsageError):
    """A request that takes none of the forms there are; the message names them."""

    http_status = 406


@lru_cache(maxsize=HEADERS_KEPT)
def form_of(accept: str) -> str:
    """The media type to answer with, for the value of an Accept header; raises `NotAcceptable`."""
    accepted = weights(accept or "*/*")
    best = first_of(WRITERS, lambda form: weight_of(accepted, form, f"{form.partition('/')[0]}/*", "*/*"))
    if best is None:
        raise NotAcceptable(f"header Accept: {accept!r} takes none of the forms there are: {', '.join(WRITERS)}")
    return best


@lru_cache(maxsize=HEADERS_KEPT)
def encoding_of(accept_encoding: str) -> str:
    """How to pack an answer; not at all unless the header names a way."""
    accepted = weights(accept_encoding)
    return first_of(ENCODINGS[:-1], lambda one: weight_of(accepted, one)) or "identity"


async def compressed(body: bytes, encoding: str) -> bytes:
    return await asyncio.to_thread(pack, body, encoding) if len(body) > LARGEST_AT_ONCE else pack(body, encoding)


def pack(body: bytes, encoding: str) -> bytes:
    if encoding == "zstd":
        return zstandard.ZstdCompressor(level=1).compress(body)
    return zlib.compress(body, level=1, wbits=31)


def weights(header: str) -> dict[str, float]:
    """The items of a header and how much each is preferred (RFC 9110, 12.4.2); what cannot be understood is not."""
    found = {}
    for item in header.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        found[name] = next((quality(value) for value in parameters if value.startswith("q=")), 1.0)
    return found


def quality(parameter: str) -> float:
    try:
        weight = float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


def weight_of(accepted: dict[str, float], *names: str) -> float:
    """The weight of the most special of these names that there is."""
    return next((accepted[name] for name in names if name in accepted), 0.0)


def first_of(known: Iterable[str], weight: Callable[[str], float]) -> str | None:
    """The first with the greatest weight; None if all are refused."""
    best = max(known, key=weight)
    return best if weight(best) > 0 else None


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as JSON: those that are expected by their kind, and all others as our own fault."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        error.text = orjson.dumps({"detail": brief(explained(request, error), LONGEST_DETAIL)}).decode()
        error.content_type = "application/json"
        raise
    except ClientLeft as error:
        return web.Response(status=error.http_status, reason="Client Closed Request")
    except Exception as error:  # noqa: BLE001 - an error that nobody expected is answered as well
        return refused(request, error)


def refused(request: web.Request, error: Exception) -> web.Response:
    """The answer to a request that cannot be answered; what callers need not know of it goes to the log."""
    status = error.http_status if isinstance(error, TailraceError) else 500
    if status == 500 and not isinstance(error, OnDemandError):
        log.error("request %s failed: %s", request[TIMING].id, one_line(error))
        return detail(500, f"the reader failed; its log says why under the request id {request[TIMING].id}")
    request[TIMING].why = brief(str(error), LONGEST_LINE)
    refusal = detail(status, public(error))
    if status == 503:
        refusal.headers["Retry-After"] = str(RETRY_SECONDS)
    return refusal


def public(error: Exception) -> str:
    """The text of an expected error for callers."""
    if isinstance(error, StoreError):
        return of_store(error)
    if isinstance(error, LogError):
        return "the log of direct writes cannot be written; nothing may be acknowledged until it can"
    return str(error)


def explained(request: web.Request, error: web.HTTPException) -> str:
    """The reason why aiohttp refuses a request, and what would be right."""
    path = brief(request.path, LONGEST_LINE)
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"{path} takes {' and '.join(sorted(error.allowed_methods))}, not {error.method}"
    if isinstance(error, web.HTTPNotFound):
        routes = sorted({one.canonical for one in request.app.router.resources()})
        return f"there is no {path}; there are {', '.join(routes)}, and GET /openapi.json describes them"
    return error.text or error.reason


def detail(status: int, text: str) -> web.Response:
    """An answer that says why there is no other one."""
    return as_json(orjson.dumps({"detail": brief(text, LONGEST_DETAIL)}), status=status)


def as_json(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
