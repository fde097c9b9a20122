"""The HTTP face of one reader process: routes, what they need, and what every request goes through."""

import itertools
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from serving.answers import Answer
from serving.auth.policy import GUARD, Guard, admit, check_read
from serving.common.request import list_value, parse_request
from serving.endpoints import COUNTERS, ONCE, WRITER, alive, features, metrics, openapi, ready, write_values
from serving.engine import CURRENT, Current
from serving.http.admission import (
    BODY_BYTES,
    READ_PLACES,
    RESERVATION,
    WRITE_PLACES,
    Admission,
    body_of,
    deadline_of,
    reservation_of,
)
from serving.http.responses import SMALLEST, WRITERS, answer_errors, compressed, encoding_of, form_of
from serving.read.columns import Found
from serving.telemetry.metrics import REQUEST_SECONDS, REQUESTS, ROWS, ROWS_ASKED, STAGE_SECONDS, Counters
from serving.telemetry.requests import TIMING, AccessLog, RequestTiming, Tracing
from serving.write.idempotency import Once
from tailrace.definitions import Definitions
from tailrace.settings import ReaderSettings, Writes
from tailrace.store.address import open_store
from tailrace.store.direct.log import Log
from tailrace.store.direct.writer import DirectWriter

ID = "X-Request-Id"
VALID_ID = re.compile(r"[!-~]{1,128}")
STATUSES = tuple((int(one), one.name) for one in reversed(Found))  # the most frequent first

WRITE_SECONDS = 3.0  # for which one request of a write is tried

LIMITS = web.AppKey("LIMITS", ReaderSettings)


def make_app(
    definitions: Definitions,
    *,
    url: str,
    region: str,
    table: str,
    limits: ReaderSettings,
    local: bool,
    counters: Counters,
    direct: Log,
    environment: str = "",
    writes: Writes = "transactions",
    tracing: Tracing | None = None,
) -> web.Application:
    """The reader over the store at `url`; it starts whether or not the store can be read.

    It answers those whom `limits.access` names or, where it is `local`, everybody. What is written to direct views is
    logged in `direct`, and sent to the store as `writes` says.
    `counters` are where this process counts, in memory that all processes share; `tracing` is closed with the reader.
    """
    log = AccessLog(limits.access_log, counters)

    async def opened(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as until_closed:
            enter = until_closed.enter_async_context
            store = await enter(open_store(url=url, region=region, table=table))
            app[CURRENT] = now = await enter(Current(definitions, store, counters, cache_seconds=limits.cache_seconds))
            patient = await enter(
                open_store(url=url, region=region, table=table, environment=environment, patience=WRITE_SECONDS)
            )
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
        middlewares=[observing(counters, log, tracing), answer_errors, admit], client_max_size=BODY_BYTES
    )
    app[COUNTERS], app[LIMITS] = counters, limits
    app[READ_PLACES], app[WRITE_PLACES] = Admission(limits.at_once, counters), Admission(limits.at_once, counters)
    app[GUARD] = guard = Guard(limits.access, local=local)
    app.cleanup_ctx.extend([telemetry, guard.keep_fresh, opened])
    app.router.add_post("/get-online-features", get_online_features)
    app.router.add_post("/v1/write", write_values)
    app.router.add_get("/health", alive)
    app.router.add_get("/ready", ready)
    app.router.add_get("/features", features)
    app.router.add_get("/openapi.json", openapi)
    app.router.add_get("/metrics", metrics)
    return app


async def get_online_features(request: web.Request) -> web.Response:
    app, timing = request.app, request[TIMING]
    deadline = deadline_of(request.headers, default_ms=app[LIMITS].budget_ms)
    form = form_of(list_value(request.headers, "Accept"))
    encoding = encoding_of(list_value(request.headers, "Accept-Encoding"))
    admission, reservation = app[READ_PLACES], reservation_of(request)
    body = await body_of(request, admission)
    await admission.enter(reservation)
    timing.end("receive")
    engine, asked = app[CURRENT].engine, parse_request(body)
    timing.asked = asked
    check_read(request, asked, engine.readable)
    plan = engine.plan(asked)
    pace = await admission.weigh(reservation, values=plan.width * asked.rows, deadline=deadline)
    try:
        answer = await engine.answer(asked, plan, deadline=deadline, timing=timing, pace=pace)
        written = await pace.made(WRITERS[form](answer))
        await pace.pause()
    finally:
        pace.end()
    headers = {"Content-Type": form, "Vary": "Accept, Accept-Encoding"}
    if encoding != "identity" and len(written) >= SMALLEST:
        written = await compressed(written, encoding)
        headers["Content-Encoding"] = encoding
    admission.settle(reservation, len(written))
    timing.end("write")
    count_answer(app[COUNTERS], timing, answer)
    return web.Response(body=written, headers=headers)


def observing(counters: Counters, log: AccessLog, tracing: Tracing | None) -> Middleware:
    """A middleware, to stand around all others; once the process closes, it also ends the connection of each request."""
    ids = (f"{secrets.token_hex(6)}-{number:x}" for number in itertools.count(1))

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        timing = request[TIMING] = RequestTiming()
        given = request.headers.getall(ID, ())
        timing.id = given[0] if len(given) == 1 and VALID_ID.fullmatch(given[0]) else next(ids)
        answered: web.StreamResponse | None = None
        try:
            answered = await handler(request)
            return answered
        except web.HTTPException as error:
            answered = error
            raise
        finally:
            status = 500  # of a request that is cancelled, because the process has to end
            if answered is not None:
                status = answered.status
                answered.headers[ID] = timing.id
                if request.app[CURRENT].closing or getattr(request.protocol, "has_dropped", False):
                    answered.force_close()
            counters.add((REQUESTS, path_of(request), str(status)))
            log.record(request, answered, timing, status=status)
            if tracing is not None:
                tracing.record(request, timing, status=status)
            await release(request, answered)

    return observe


async def release(request: web.Request, answered: web.StreamResponse | None) -> None:
    """Give back what a request reserved, once its answer was sent or nobody takes it."""
    reservation = request.get(RESERVATION)
    if reservation is None:
        return
    try:
        if answered is not None and not isinstance(answered, web.HTTPException):
            with suppress(ConnectionError):  # which aiohttp meets as well, and knows
                await answered.prepare(request)
                await answered.write_eof()
    finally:
        reservation.release()


def path_of(request: web.Request) -> str:
    """The path of a route; whatever else was asked for is one to the metrics, which must not grow with it."""
    resource = request.match_info.route.resource
    return "other" if resource is None else resource.canonical


def count_answer(counters: Counters, timing: RequestTiming, answer: Answer) -> None:
    counters.observe((REQUEST_SECONDS,), timing.total)
    for stage, seconds in timing.seconds.items():
        counters.observe((STAGE_SECONDS, stage), seconds)
    counters.add((ROWS_ASKED,), answer.asked.rows)
    for view, read in answer.plan.stored.items():
        # All features of a row were found or none, but for those that an older schema lacks: the first one decides.
        found = answer.columns[f"{view}:{read[0].name}"].found.tobytes()
        left = len(found)
        for status, name in STATUSES:
            if rows := found.count(status):
                counters.add((ROWS, view, name), rows)
                left -= rows
                if not left:
                    break
