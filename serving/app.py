"""The HTTP face of one reader process: routes, what they need, and how errors are told."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
from aiohttp import web

from features.language import Definitions
from online.keys import ItemKeyError
from online.wire import StoreError, open_store
from serving.admission import Admission, Overloaded
from serving.answer import to_answer
from serving.budget import deadline_of
from serving.catalogue import catalogue
from serving.controls import Controls
from serving.on_demand import OnDemandError, compute
from serving.plan import Planner
from serving.read import Reader
from serving.request import BadRequest, parse_request
from settings import ReaderSettings

BODY_BYTES = 2**20
BODY_SECONDS = 5.0  # for a body to arrive; a slow client holds nothing for longer

RETRY_SECONDS = 1

ADMISSION = web.AppKey("ADMISSION", Admission)
CATALOGUE = web.AppKey("CATALOGUE", bytes)
CONTROLS = web.AppKey("CONTROLS", Controls)
LIMITS = web.AppKey("LIMITS", ReaderSettings)
PLANNER = web.AppKey("PLANNER", Planner)
READER = web.AppKey("READER", Reader)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(definitions: Definitions, *, url: str, region: str, table: str, limits: ReaderSettings) -> web.Application:
    """The reader over the store at `url`; it starts whether or not the store can be read."""

    async def store(app: web.Application) -> AsyncIterator[None]:
        async with open_store(url=url, region=region, table=table) as client:
            app[CONTROLS] = controls = Controls(client, definitions)
            app[READER] = Reader(client, controls)
            await controls.refresh()
            refreshing = asyncio.create_task(controls.keep_fresh())
            yield
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)

    app = web.Application(middlewares=[tell_errors], client_max_size=BODY_BYTES)
    app[LIMITS], app[ADMISSION] = limits, Admission(limits.at_once)
    app[CATALOGUE] = orjson.dumps(catalogue(definitions))
    app[PLANNER] = Planner(definitions)
    app.cleanup_ctx.append(store)
    app.router.add_post("/get-online-features", get_online_features)
    app.router.add_get("/health", health)
    app.router.add_get("/ready", ready)
    app.router.add_get("/features", features)
    return app


async def get_online_features(request: web.Request) -> web.Response:
    deadline = deadline_of(request.headers, default_ms=request.app[LIMITS].budget_ms)
    body = await body_of(request)
    async with request.app[ADMISSION].place():
        return as_json(await answer_to(request.app, body, deadline=deadline))


async def answer_to(app: web.Application, body: bytes, *, deadline: float) -> bytes:
    now = time.time_ns() // 1000
    asked = parse_request(body)
    plan = app[PLANNER].plan(asked)
    columns = await app[READER].read(plan, asked.ids, now=now, deadline=deadline)
    for feature in plan.on_demand:
        columns[feature.name] = compute(feature, columns, now=now)
    views = {view: app[CONTROLS].told(view, now=now) for view in plan.wanted}
    return to_answer(plan, asked.ids, columns, views)


async def body_of(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_SECONDS:g} s") from error
    except web.RequestPayloadError as error:
        raise BadRequest(f"the body cannot be read: {error}") from error


async def health(_: web.Request) -> web.Response:
    return as_json(orjson.dumps({"status": "alive"}))


async def ready(request: web.Request) -> web.Response:
    controls = request.app[CONTROLS]
    await controls.refresh()
    unready = controls.unready()
    answer = {"ready": not unready, "store": controls.failure or "answers", "views": unready}
    return as_json(orjson.dumps(answer), status=503 if unready else 200)


async def features(request: web.Request) -> web.Response:
    return as_json(request.app[CATALOGUE])


@web.middleware
async def tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as `{"detail": …}`, the shape of Feast's."""
    try:
        return await handler(request)
    except (BadRequest, ItemKeyError) as error:
        return detail(400, str(error))
    except (Overloaded, StoreError) as error:
        refusal = detail(503, str(error))
        refusal.headers["Retry-After"] = str(RETRY_SECONDS)
        return refusal
    except OnDemandError as error:
        return detail(500, str(error))
    except web.HTTPException as error:
        error.text = orjson.dumps({"detail": error.text}).decode()
        error.content_type = "application/json"
        raise


def detail(status: int, text: str) -> web.Response:
    return as_json(orjson.dumps({"detail": text}), status=status)


def as_json(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
