"""`POST /v1/write`: values of direct views."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from serving.auth.policy import IDENTITY, check_write
from serving.common.request import BadRequest
from serving.engine import CURRENT
from serving.http.admission import WRITE_PLACES, body_of, held_by
from serving.http.errors import as_json
from serving.telemetry.metrics import WRITES, Cells
from serving.write.idempotency import Once, key_of
from serving.write.request import parse_body, values_of, view_of
from tailrace.schemas.slots import from_micros, to_text
from tailrace.store.direct.rivals import Overwritten, Refused, Stale
from tailrace.store.direct.wanted import Written
from tailrace.store.direct.writer import DirectWriter

OK, MIXED, INVALID, STALE = 200, 207, 400, 409

Result = dict[str, Any]


def result_of(result: Written | BadRequest) -> tuple[int, Result]:
    """The HTTP status of a write of this entity only, and its result."""
    if isinstance(result, BadRequest):
        return INVALID, {"status": "INVALID", "detail": str(result)}
    occurred_at = to_text(from_micros(result.order.occurred_at))
    if result.result is None:
        return OK, {"status": "WRITTEN", "occurred_at": occurred_at}
    if isinstance(result.result, Overwritten):
        return OK, {"status": "WRITTEN", "occurred_at": occurred_at, "overwritten": True}
    if isinstance(result.result, Refused):
        return INVALID, {"status": "INVALID", "detail": f"the store refused it: {result.result.why}"}
    return STALE, {"status": "STALE", "occurred_at": occurred_at} | stored(result.result)


def stored(stale: Stale) -> Result:
    """When the value that the store has is of; missing if the view has just changed hands."""
    return {"stored_at": None if stale.stored is None else to_text(from_micros(stale.stored.occurred_at))}


def answer_of(view: str, results: Sequence[Written | BadRequest]) -> web.Response:
    """The answer to a write: 207 where entities fared differently."""
    statuses, bodies = zip(*map(result_of, results), strict=True)
    status = statuses[0] if len({*statuses}) == 1 else MIXED
    body = {"view": view, "results": bodies}
    if status in {INVALID, STALE}:
        body["detail"] = bodies[0].get("detail") or "the store has a later value"
    return as_json(orjson.dumps(body), status=status)


CELLS = web.AppKey("CELLS", Cells)
WRITER = web.AppKey("WRITER", DirectWriter)
ONCE = web.AppKey("ONCE", Once)


async def write(request: web.Request) -> web.Response:
    """Write values of one view; what is answered as written is in the store, and durably in the log."""
    refuse_pages(request)
    raw = await body_of(request, request.app[WRITE_PLACES])
    await request.app[WRITE_PLACES].enter(held_by(request))
    return await written(request, raw)


async def written(request: web.Request, raw: bytes) -> web.Response:
    body = parse_body(raw)
    check_write(request, body.view)
    view = view_of(body, request.app[CURRENT].engine.definitions)
    values = values_of(body, view, now=time.time_ns() // 1000)
    good = [value for value in values if not isinstance(value, BadRequest)]
    key = key_of(request.headers)
    if key is None or not good:
        done = await request.app[WRITER].write(good)
    else:
        done = await request.app[ONCE].write(good, key=key, caller=request[IDENTITY].name, body=raw)
    outcomes = iter(done)
    results = [value if isinstance(value, BadRequest) else next(outcomes) for value in values]
    for status, count in Counter(result_of(result)[1]["status"] for result in results).items():
        request.app[CELLS].add((WRITES, view.name, status), count)
    return answer_of(view.name, results)


def refuse_pages(request: web.Request) -> None:
    """Raise `BadRequest` for what a page of another site has a browser send: a local reader believes everybody.

    The host is the page's own choice, which `Guard.check_host` has looked at before.
    """
    origins = request.headers.getall("Origin", ())
    if any(origin.partition("://")[2] != request.host for origin in origins):
        raise BadRequest("header Origin: pages of other sites write nothing here")
