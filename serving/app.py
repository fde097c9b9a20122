"""The HTTP face of one reader process: routes, and what they need."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import orjson
from aiohttp import web

from serving.auth.policy import GUARD, Guard, admit, check_read
from serving.common.request import list_value, parse_request
from serving.endpoints.exposition import exposed
from serving.endpoints.observe import count_answer, observing
from serving.endpoints.writes import CELLS, ONCE, WRITER, write
from serving.engine import CURRENT, Current
from serving.http.admission import BODY_BYTES, READ_PLACES, WRITE_PLACES, Admission, body_of, deadline_of, held_by
from serving.http.errors import answer_errors, as_json
from serving.http.negotiate import SMALLEST, WRITERS, encoding_of, form_of, packed
from serving.telemetry.access_log import TRIP, AccessLog
from serving.telemetry.metrics import Cells
from serving.telemetry.tracing import Tracing
from serving.write.idempotency import Once
from tailrace.definitions import Definitions
from tailrace.settings import ReaderSettings, Writes
from tailrace.store.direct.replay import Log
from tailrace.store.direct.writer import DirectWriter
from tailrace.store.dynamodb.wire import open_store

WRITE_SECONDS = 3.0  # for which one request of a write is tried
LOG_FAILS = "the log of direct writes could not be written; the reader's log says why"

LIMITS = web.AppKey("LIMITS", ReaderSettings)


def make_app(
    definitions: Definitions,
    *,
    url: str,
    region: str,
    table: str,
    limits: ReaderSettings,
    local: bool,
    cells: Cells,
    direct: Log,
    writes: Writes = "transactions",
    tracing: Tracing | None = None,
) -> web.Application:
    """The reader over the store at `url`; it starts whether or not the store can be read.

    It answers those whom `limits.access` names or, where it is `local`, everybody. What is written to direct views is
    logged in `direct`, and sent to the store as `writes` says.
    `cells` are where this process counts, on a board with the other ones'; `tracing` is closed with the reader.
    """
    log = AccessLog(limits.access_log, cells)

    async def store(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as until_closed:
            enter = until_closed.enter_async_context
            client = await enter(open_store(url=url, region=region, table=table))
            app[CURRENT] = now = await enter(Current(definitions, client, cells, cache_seconds=limits.cache_seconds))
            patient = await enter(open_store(url=url, region=region, table=table, patience=WRITE_SECONDS))
            transactions = writes == "transactions"
            writer = DirectWriter(patient, direct, lambda: now.engine.definitions.views, transactions=transactions)
            app[WRITER] = await enter(writer)
            app[ONCE] = Once(patient, writer)
            yield

    async def telemetry(_: web.Application) -> AsyncIterator[None]:
        with log:
            yield
        if tracing is not None:
            tracing.close()

    app = web.Application(
        middlewares=[observing(cells, log, tracing), answer_errors, admit], client_max_size=BODY_BYTES
    )
    app[CELLS], app[LIMITS] = cells, limits
    app[READ_PLACES], app[WRITE_PLACES] = Admission(limits.at_once, cells), Admission(limits.at_once, cells)
    app[GUARD] = guard = Guard(limits.access, local=local)
    app.cleanup_ctx.extend([telemetry, guard.keep_fresh, store])
    app.router.add_post("/get-online-features", get_online_features)
    app.router.add_post("/v1/write", write)
    app.router.add_get("/health", health)
    app.router.add_get("/ready", ready)
    app.router.add_get("/features", features)
    app.router.add_get("/openapi.json", openapi)
    app.router.add_get("/metrics", metrics)
    return app


async def get_online_features(request: web.Request) -> web.Response:
    app, trip = request.app, request[TRIP]
    deadline = deadline_of(request.headers, default_ms=app[LIMITS].budget_ms)
    form = form_of(list_value(request.headers, "Accept"))
    encoding = encoding_of(list_value(request.headers, "Accept-Encoding"))
    admission, held = app[READ_PLACES], held_by(request)
    body = await body_of(request, admission)
    await admission.enter(held)
    trip.end("receive")
    engine, asked = app[CURRENT].engine, parse_request(body)
    trip.asked = asked
    check_read(request, asked, engine.readable)
    plan = engine.plan(asked)
    pace = await admission.weigh(held, cells=plan.width * asked.rows, deadline=deadline)
    try:
        answer = await engine.answer(asked, plan, deadline=deadline, trip=trip, pace=pace)
        written = await pace.made(WRITERS[form](answer))
        await pace.pause()
    finally:
        pace.end()
    headers = {"Content-Type": form, "Vary": "Accept, Accept-Encoding"}
    if encoding != "identity" and len(written) >= SMALLEST:
        written = await packed(written, encoding)
        headers["Content-Encoding"] = encoding
    admission.settle(held, len(written))
    trip.end("write")
    count_answer(app[CELLS], trip, answer)
    return web.Response(body=written, headers=headers)


async def health(_: web.Request) -> web.Response:
    return as_json(orjson.dumps({"status": "alive"}))


async def ready(request: web.Request) -> web.Response:
    current = request.app[CURRENT]
    controls = current.engine.controls
    await controls.be_fresh()
    unready = controls.unready()
    is_ready = not unready and not current.leaving
    answer = {
        "ready": is_ready,
        "store": controls.failure or "answers",
        "views": unready,
        "writes": "accepted" if request.app[WRITER].takes_writes else LOG_FAILS,
        "definitions": current.engine.definitions.files,
        "stopping": current.leaving,
    }
    return as_json(orjson.dumps(answer), status=200 if is_ready else 503)


async def features(request: web.Request) -> web.Response:
    return as_json(request.app[CURRENT].engine.catalogue)


async def metrics(request: web.Request) -> web.Response:
    board, engine, accept = request.app[CELLS].board, request.app[CURRENT].engine, request.headers.get("Accept", "")
    body, content_type = await asyncio.to_thread(exposed, board, engine, accept=accept)  # milliseconds, with many views
    return web.Response(body=body, headers={"Content-Type": content_type})


async def openapi(request: web.Request) -> web.Response:
    return as_json(request.app[CURRENT].engine.openapi)
