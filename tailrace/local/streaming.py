"""The broker and the stream as services of a home, and what it remembers of them from `up` to `down`."""

import json
import os
import socket
import sys
import time
from dataclasses import replace

from jobs.streaming.heartbeat import SILENT_SECONDS, read_heartbeat
from tailrace.lake.files import put
from tailrace.local import broker
from tailrace.local.service import (
    HEALTHY,
    STARTING,
    UNHEALTHY,
    LocalError,
    Service,
    find,
    places_of,
)
from tailrace.settings import Settings
from tailrace.workspace.remembered import Remembered, record, remembered

BROKER, STREAM = "broker", "stream"
STOP_SECONDS = 20.0


def turn_on(settings: Settings) -> bool:
    """Remember that the home has a stream, and of which servers; False where it knows.

    Raises `LocalError` where a stream runs that was started otherwise.
    """
    own = settings.stream.kafka is None
    new: Remembered = {
        "kafka": settings.stream.kafka or broker.servers(settings),
        "topic": settings.stream.topic,
        "broker_port": settings.stream.broker_port if own else None,
    }
    before = remembered(settings)
    if before != new and find(service_of_stream(settings)):
        follows = f"{before['topic']} at {before['kafka']}" if before else "what it was started with"
        raise LocalError(f"the stream of {settings.home} runs and follows {follows}; `tailrace stream stop` it first")
    put(record(settings), json.dumps(new))
    return before != new


def turn_off(settings: Settings) -> None:
    record(settings).unlink(missing_ok=True)


def known(settings: Settings) -> Settings:
    """The settings with what the home remembers of its stream, which commands without them go by as well."""
    known = remembered(settings)
    if known is None:
        return replace(settings, stream=replace(settings.stream, wanted=False))
    port = known["broker_port"] or settings.stream.broker_port
    stream = replace(
        settings.stream, wanted=True, kafka=str(known["kafka"]), topic=str(known["topic"]), broker_port=int(port)
    )
    return replace(settings, stream=stream)


def services(settings: Settings) -> list[Service]:
    """Of a home as it is `known`; a stream that was started by itself is stopped with the rest."""
    known, stream = remembered(settings), service_of_stream(settings)
    own = [service_of_broker(settings)] if known and known["broker_port"] else []
    return [*own, stream] if known or stream.record.exists() else []


def service_of_broker(settings: Settings) -> Service:
    return service(settings, BROKER, "broker")


def service_of_stream(settings: Settings) -> Service:
    return service(settings, STREAM, "run")


def service(settings: Settings, name: str, command: str) -> Service:
    return Service(
        name=name,
        command=(sys.executable, "-m", "tailrace", "stream", command),
        environment=os.environ | places_of(settings) | {"TAILRACE_KAFKA_PORT": str(settings.stream.broker_port)},
        folder=settings.run_folder,
        stop_seconds=STOP_SECONDS,
    )


def state_of(settings: Settings, name: str) -> str:
    """The state of the broker or the stream, whose process runs."""
    if name == BROKER:
        return HEALTHY if accepts(settings.stream.broker_port) else STARTING
    heartbeat, process = read_heartbeat(settings.home), find(service_of_stream(settings))
    if heartbeat is None or process is None or heartbeat.pid != process.pid:
        return STARTING
    if heartbeat.failing_since or (heartbeat.follows and time.time() - heartbeat.written > SILENT_SECONDS):
        return UNHEALTHY
    return HEALTHY if heartbeat.follows else STARTING


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((broker.HOST, port)) == 0
