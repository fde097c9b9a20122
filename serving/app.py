"""The HTTP face of one reader process: routes, and what they need."""

import asyncio
from collections.abc import AsyncIterator

import orjson
from aiohttp import web

from features.language import Definitions
from online.wire import open_store
from serving.access.guard import GUARD, Guard, admit, check_read
from serving.admission import Admission
from serving.answers.negotiate import SMALLEST, WRITERS, encoding_of, form_of, packed
from serving.budget import deadline_of
from serving.engine import Engine
from serving.errors import as_json, tell_errors
from serving.fetch import Fetches
from serving.request import BadRequest, parse_request
from settings import ReaderSettings

BODY_BYTES = 2**20
BODY_SECONDS = 5.0  # for a body to arrive; a slow client holds nothing for longer

ADMISSION = web.AppKey("ADMISSION", Admission)
ENGINE = web.AppKey("ENGINE", Engine)
LIMITS = web.AppKey("LIMITS", ReaderSettings)


def make_app(
    definitions: Definitions, *, url: str, region: str, table: str, limits: ReaderSettings, local: bool
) -> web.Application:
    """The reader over the store at `url`; it starts whether or not the store can be read.

    It answers those whom `limits.access` names or, where it is `local`, everybody.
    """

    async def store(app: web.Application) -> AsyncIterator[None]:
        async with open_store(url=url, region=region, table=table) as client:
            app[ENGINE] = engine = Engine(definitions, client, Fetches(client, cache_seconds=limits.cache_seconds))
            await engine.controls.refresh()
            refreshing = asyncio.create_task(engine.controls.keep_fresh())
            yield
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)

    app = web.Application(middlewares=[tell_errors, admit], client_max_size=BODY_BYTES)
    app[LIMITS], app[ADMISSION] = limits, Admission(limits.at_once)
    app[GUARD] = guard = Guard(limits.access, local=local)
    app.cleanup_ctx.append(guard.keep_fresh)
    app.cleanup_ctx.append(store)
    app.router.add_post("/get-online-features", get_online_features)
    app.router.add_get("/health", health)
    app.router.add_get("/ready", ready)
    app.router.add_get("/features", features)
    app.router.add_get("/openapi.json", openapi)
    return app


async def get_online_features(request: web.Request) -> web.Response:
    deadline = deadline_of(request.headers, default_ms=request.app[LIMITS].budget_ms)
    form = form_of(request.headers.get("Accept", ""))
    encoding = encoding_of(request.headers.get("Accept-Encoding", ""))
    body = await body_of(request)
    async with request.app[ADMISSION].place():
        asked, engine = parse_request(body), request.app[ENGINE]
        check_read(request, asked, engine.readable)
        answer = WRITERS[form](await engine.answer(asked, deadline=deadline))
        headers = {"Content-Type": form, "Vary": "Accept, Accept-Encoding"}
        if encoding == "identity" or len(answer) < SMALLEST:
            return web.Response(body=answer, headers=headers)
        return web.Response(body=await packed(answer, encoding), headers=headers | {"Content-Encoding": encoding})


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
    controls = request.app[ENGINE].controls
    await controls.refresh()
    unready = controls.unready()
    answer = {"ready": not unready, "store": controls.failure or "answers", "views": unready}
    return as_json(orjson.dumps(answer), status=503 if unready else 200)


async def features(request: web.Request) -> web.Response:
    return as_json(request.app[ENGINE].catalogue)


async def openapi(request: web.Request) -> web.Response:
    return as_json(request.app[ENGINE].openapi)
