"""One reader process: an event loop that listens on the shared port until it is told to stop."""

import asyncio
import gc
import logging
import multiprocessing
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection

import uvloop
from aiohttp import web

from features.language import load_definitions
from serving.access import audit
from serving.app import make_app
from serving.connections import IDLE_SECONDS, LINGER_SECONDS, CarefulSite
from serving.tls import tls_context
from settings import Settings

STOP_SECONDS = 5.0  # for requests under way


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every worker is given."""

    settings: Settings
    url: str
    host: str
    port: int
    local: bool


def work(job: Job, listening: Connection) -> None:
    """Serve until SIGTERM, or until the parent is gone; sends a byte through `listening` once it listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent passes it on
    logging.basicConfig(format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s")
    audit.write_lines()
    uvloop.run(serve(job, listening))


async def serve(job: Job, listening: Connection) -> None:
    stopped = asyncio.Event()
    loop, parent = asyncio.get_running_loop(), multiprocessing.parent_process()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    if parent is not None:
        loop.add_reader(parent.sentinel, stopped.set)
    store = job.settings.store
    definitions, limits = load_definitions(job.settings.features), job.settings.reader
    app = make_app(definitions, url=job.url, region=store.region, table=store.table, limits=limits, local=job.local)
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=LINGER_SECONDS,
        shutdown_timeout=STOP_SECONDS,
    )
    await runner.setup()
    await CarefulSite(runner, job.host, job.port, tls=tls_context(limits.tls)).start()
    gc.collect()
    gc.freeze()  # what is loaded by now stays: the collector need not walk through it during requests
    listening.send_bytes(b".")
    listening.close()
    await stopped.wait()
    if parent is not None:
        loop.remove_reader(parent.sentinel)
    await runner.cleanup()
