"""One reader process: an event loop that answers requests until it is stopped."""

import asyncio
import gc
import logging
import multiprocessing
import signal
from multiprocessing.connection import Connection

import uvloop
from aiohttp import web

from serving.app import make_app
from serving.auth import policy
from serving.common.messages import one_line
from serving.engine import CURRENT
from serving.process.client_connections import IDLE_SECONDS, LINGER_SECONDS, Acceptor
from serving.process.sockets import tls_context
from serving.process.template import LAST_REQUEST_SECONDS, LOG_FORMAT, STOP_SECONDS, Job, Message
from serving.telemetry.metrics import WORKERS, Counters
from serving.telemetry.requests import start_tracing
from tailrace.definitions import DefinitionError, Definitions, load_anew, load_definitions
from tailrace.store.direct.log import Log

LOOK_SECONDS = 0.02
FOR_PARENT = (signal.SIGINT, signal.SIGHUP)  # these reach the whole group; the parent passes on what they ask for
SIGNALS = (signal.SIGTERM, *FOR_PARENT)  # that are blocked until a worker knows what to do with them
NEW_OBJECTS = 20_000  # after which the collector looks; a large answer makes many, and each look would take 10 ms

log = logging.getLogger(__name__)


def work(job: Job, block: int, place: int, parent: Connection) -> None:
    """Serve until SIGTERM, or until the parent is gone.

    `block` is where of the shared metrics this worker counts, `place` which of the sockets is its own.
    """
    for one in FOR_PARENT:
        signal.signal(one, signal.SIG_IGN)
    logging.basicConfig(format=LOG_FORMAT)
    policy.log_plain_lines()
    uvloop.run(serve(job, block, place, parent))


async def serve(job: Job, block: int, place: int, parent: Connection) -> None:
    stopped = stop_event()
    counters = Counters(job.metrics, block)
    definitions = load_definitions(job.settings.features)
    app = app_for(job, definitions, counters)
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=LINGER_SECONDS,
        shutdown_timeout=STOP_SECONDS,
    )
    await runner.setup()
    acceptor = Acceptor(runner, job.sockets, own=place, tls=tls_context(job.settings.reader.tls))
    await acceptor.open()
    gc.collect()
    gc.freeze()  # what is loaded by now stays: the collector need not walk through it during requests
    gc.set_threshold(NEW_OBJECTS)
    counters.add((WORKERS,))
    listener = Listener(app, job.settings.features, parent)
    listener.begin()
    listener.send(Message.LISTENS, definitions.files)
    await stopped.wait()
    await acceptor.close()
    listener.send(Message.CLOSING)
    await close(app, runner)
    listener.end()
    counters.add((WORKERS,), -1)


def stop_event() -> asyncio.Event:
    """Set by SIGTERM, and by the end of the parent."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    if (parent := multiprocessing.parent_process()) is not None:

        def stop() -> None:
            loop.remove_reader(parent.sentinel)  # it stays readable
            stopped.set()

        loop.add_reader(parent.sentinel, stop)
    return stopped


def app_for(job: Job, definitions: Definitions, counters: Counters) -> web.Application:
    store, limits = job.settings.store, job.settings.reader
    return make_app(
        definitions,
        url=job.url,
        region=store.region,
        table=store.table,
        limits=limits,
        local=job.local,
        counters=counters,
        direct=Log(folder=job.settings.direct_log, landing=job.settings.landing),
        environment=store.environment,
        writes=store.writes,
        tracing=start_tracing() if limits.traces else None,
    )


async def close(app: web.Application, runner: web.AppRunner) -> None:
    """Answer what is asked on open connections, and end each with its next answer.

    A client learns from that answer that the connection ends. One that sends nothing for a while finds it closed.
    """
    app[CURRENT].closing = True
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LAST_REQUEST_SECONDS
    while runner.server.connections and loop.time() < deadline:  # noqa: ASYNC110 - there is no event for one that ends
        await asyncio.sleep(LOOK_SECONDS)
    await runner.cleanup()


class Listener:
    """Does what the parent asks of this worker."""

    def __init__(self, app: web.Application, folders: tuple[str, ...], parent: Connection) -> None:
        self._app = app
        self._folders = folders
        self._parent = parent
        self._one_at_a_time = asyncio.Lock()
        self._reloading: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        asyncio.get_running_loop().add_reader(self._parent.fileno(), self._hear)

    def end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._parent.fileno())

    def _hear(self) -> None:
        try:
            message = self._parent.recv()
        except (EOFError, OSError):  # the parent is gone, which ends this worker too
            self.end()
            return
        if message == Message.LEAVE:
            self._app[CURRENT].leaving = True
        elif message == Message.RELOAD:
            task = asyncio.create_task(self._reload())
            self._reloading.add(task)
            task.add_done_callback(self._reloading.discard)

    async def _reload(self) -> None:
        try:
            async with self._one_at_a_time:
                # In a thread, because files are read and compiled: requests go on meanwhile.
                definitions = await asyncio.to_thread(load_anew, self._folders)
                await self._app[CURRENT].use(definitions)
        except DefinitionError as error:
            self.send(Message.KEPT, str(error))
        except Exception as error:  # noqa: BLE001 - the parent has to hear of it, whatever it is
            self.send(Message.KEPT, one_line(error))
        else:
            self.send(Message.RELOADED, definitions.files)

    def send(self, message: Message, text: str = "") -> None:
        try:
            self._parent.send((message, text))
        except OSError:
            log.debug("the parent is gone and does not hear %s", message)
