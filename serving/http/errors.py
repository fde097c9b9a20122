"""Why there is no answer, as `{"detail": …}`, the shape of Feast's."""

import logging
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from serving.common.messages import LONGEST_DETAIL, LONGEST_LINE, brief, of_store, one_line
from serving.http.admission import ClientLeft
from serving.read.columns import OnDemandError
from serving.telemetry.access_log import TRIP
from tailrace.errors import TailraceError
from tailrace.store.direct.log import LogError
from tailrace.store.dynamodb.wire import StoreError

RETRY_SECONDS = 1
log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
        log.error("request %s failed: %s", request[TRIP].id, one_line(error))
        return detail(500, f"the reader failed; its log says why under the request id {request[TRIP].id}")
    request[TRIP].why = brief(str(error), LONGEST_LINE)
    refusal = detail(status, public(error))
    if status == 503:
        refusal.headers["Retry-After"] = str(RETRY_SECONDS)
    return refusal


def public(error: Exception) -> str:
    """What callers read about an error that was expected."""
    if isinstance(error, StoreError):
        return of_store(error)
    if isinstance(error, LogError):
        return "the log of direct writes cannot be written; nothing may be acknowledged until it can"
    return str(error)


def explained(request: web.Request, error: web.HTTPException) -> str:
    """What is wrong with a request that aiohttp refuses, and what would be right."""
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
