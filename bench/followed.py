"""A store, a broker, a stream and a reader of a home of their own, and what can be read of events there."""

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import orjson

from bench.documents import PATH, ask_once
from bench.naive_stream import COUNTS, document_key
from bench.processes import Server, process, server, without_settings
from bench.readers import HEADERS
from bench.timed import Readable
from tailrace.settings import Settings
from tailrace.store import embedded
from tailrace.store.address import Address, with_store
from tailrace.store.dynamodb.calls import open_client, read_items

HOST = "127.0.0.1"
FEATURE = "recent_events_15m"  # of the view that is written last: then both are there


@contextmanager
def streaming_home(settings: Settings) -> Iterator[Settings]:
    """Settings of a home for this once, with a store and a broker of its own; its logs stay where something failed."""
    parent, port = settings.home / "bench", free_port()
    parent.mkdir(parents=True, exist_ok=True)
    home = Path(mkdtemp(prefix="streaming-", dir=parent))
    stream = replace(settings.stream, kafka=f"{HOST}:{port}", topic="events", broker_port=port)
    store = replace(settings.store, url=None, table="streaming")
    try:
        yield replace(settings, home=home, features=("shipped",), stream=stream, store=store)
    finally:
        if not isinstance(sys.exception(), Exception):
            shutil.rmtree(home)


def free_port() -> int:
    """One of two free ports, one after the other, as a broker takes them."""
    while True:
        with socket.socket() as first, socket.socket() as second, suppress(OSError, OverflowError):
            first.bind((HOST, 0))
            port = int(first.getsockname()[1])
            second.bind((HOST, port + 1))
            return port


@contextmanager
def store_of(settings: Settings) -> Iterator[Address]:
    """Run the embedded store of a home, with a table in it."""
    embedded.start(settings)
    try:
        address = Address.of(settings)
        with_store(address, lambda opened: opened.ensure_ready())
        yield address
    finally:
        embedded.stop(settings)


@contextmanager
def streaming(settings: Settings, command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `tailrace stream` with a command."""
    arguments = [sys.executable, "-m", "tailrace", "stream", command]
    log = settings.home / f"{command}.log"
    with process(arguments, log=log, environment=environment_of(settings)) as started:
        yield started


@contextmanager
def reader_of(settings: Settings) -> Iterator[Server]:
    log, environment = settings.home / "reader.log", environment_of(settings)
    with server("serving", "--local", "--port", "0", log=log, environment=environment) as running:
        yield running


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables by which another process has the settings of the benchmark, and no others."""
    spark, store, stream = settings.spark, settings.store, settings.stream
    return without_settings() | {
        "TAILRACE_HOME": str(settings.home),
        "TAILRACE_SPARK_MASTER": spark.master,
        "TAILRACE_SPARK_MEMORY": spark.driver_memory,
        "TAILRACE_SPARK_JAVA_OPTIONS": spark.java_options,
        "TAILRACE_JARS": str(spark.jars),
        "TAILRACE_STORE_BINARY": str(store.binary),
        "TAILRACE_STORE_TABLE": store.table,
        "TAILRACE_STORE_REGION": store.region,
        "TAILRACE_KAFKA": stream.kafka or "",
        "TAILRACE_KAFKA_TOPIC": stream.topic,
        "TAILRACE_KAFKA_PORT": str(stream.broker_port),
    }


def through(reader: Server) -> Readable:
    """Documents of which a reader answers recent events."""

    def readable(documents: list[str]) -> Iterable[str]:
        body = orjson.dumps({"features": [FEATURE], "entities": {"document_id": documents}}).decode()
        answer = orjson.loads(ask_once(reader.url + PATH, body, HEADERS)[1])
        return [document for document, events in zip(documents, answer["results"][-1]["values"], strict=True) if events]

    return readable


def naive_items(address: Address) -> Readable:
    """Documents of which the naive way has an item, read from the store itself."""

    def readable(documents: list[str]) -> Iterable[str]:
        of_key = {document_key(document): document for document in documents}
        return [of_key[key] for key in asyncio.run(counted_of(address, of_key))]

    return readable


async def counted_of(address: Address, keys: Iterable[str]) -> Iterable[str]:
    """Which of some keys have an item of the naive stream's."""
    async with open_client(url=address.url, region=address.region, table=address.table) as client:
        return await read_items(client, keys, (COUNTS,))
