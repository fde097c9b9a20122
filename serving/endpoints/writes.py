"""`POST /v1/write`."""

import time
from collections import Counter

from aiohttp import web

from serving.auth.guard import IDENTITY, check_write
from serving.common.request import BadRequest
from serving.current import CURRENT
from serving.endpoints.write_answer import answer_of, result_of
from serving.http.admission import WRITE_PLACES, held_by
from serving.http.body import body_of
from serving.telemetry.board import Cells
from serving.telemetry.metrics import WRITES
from serving.write.idempotency import Once, key_of
from serving.write.request import parse_body, values_of, view_of
from tailrace.store.direct.writer import DirectWriter

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
