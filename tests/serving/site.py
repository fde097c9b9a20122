"""A small site on the reader's own connections, for tests of what they do."""

import asyncio
import socket

from aiohttp import web

from serving.http.admission import READ_PLACES, Admission, body_of
from serving.http.responses import answer_errors
from serving.process import client_connections
from serving.process.client_connections import CarefulSite
from serving.telemetry.metrics import Counters, SharedMetrics

MUCH = 2**25  # bytes, more than the kernel takes for a client


async def quick(_: web.Request) -> web.Response:
    return web.json_response({})


async def slow(_: web.Request) -> web.Response:
    await asyncio.sleep(1)
    return web.json_response({})


async def much(_: web.Request) -> web.Response:
    return web.Response(body=b"x" * MUCH)


async def body(request: web.Request) -> web.Response:
    return web.json_response(len(await body_of(request, request.app[READ_PLACES])))


async def listen() -> web.AppRunner:
    """Listen on a free port of loopback."""
    app = web.Application(middlewares=[answer_errors])
    app[READ_PLACES] = Admission(64, Counters(SharedMetrics(1)))
    app.router.add_get("/quick", quick)
    app.router.add_get("/slow", slow)
    app.router.add_get("/much", much)
    app.router.add_post("/quick", quick)
    app.router.add_post("/body", body)
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=client_connections.IDLE_SECONDS,
        lingering_time=client_connections.LINGER_SECONDS,
    )
    await runner.setup()
    await CarefulSite(runner, socket.create_server(("127.0.0.1", 0)), tls=None).start()
    return runner
