"""The stream and its broker in the background of a home: as services, kept running, and what the home remembers of them."""

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from dataclasses import replace
from pathlib import Path

from jobs.streaming.heartbeat import SILENT_SECONDS, read_heartbeat, stream_runs
from tailrace.errors import DefinitionError
from tailrace.lake.atomic_file import put
from tailrace.local.background import (
    HEALTHY,
    STARTING,
    UNHEALTHY,
    LocalError,
    Service,
    find,
    last_lines,
    places_of,
    service_lock,
    start_service,
    stop_service,
)
from tailrace.settings import Settings, set_up_command
from tailrace.workspace.resources import Remembered, remembered, stream_record

BROKER_HOST = "127.0.0.1"
FRUGAL = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # a broker next to everything else on a few cores
# The moment at which the topic had a message is the broker's: producers' clocks are their own.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
log.message.timestamp.type=LogAppendTime
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.hours=24
auto.create.topics.enable=true
"""

BROKER, STREAM = "broker", "stream"
STOP_SECONDS = 20.0

START_SECONDS = 120.0
LOOK_SECONDS = 0.2


def kafka_command(settings: Settings, main: str, *arguments: str) -> tuple[str, ...]:
    """A command that runs a class of Kafka's."""
    jars = settings.stream.broker_jars
    if not jars.is_dir():
        raise LocalError(f"no JARs of Kafka in {jars}; run `{set_up_command(stream=True)}`")
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ("java", "-Xmx512m", *FRUGAL, quiet, "-cp", f"{jars}/*", main, *arguments)


def servers(settings: Settings) -> str:
    return f"{BROKER_HOST}:{settings.stream.broker_port}"


def prepare_broker(settings: Settings) -> tuple[str, ...]:
    """Make the broker's folder ready unless it is; returns the command that runs it."""
    folder = settings.home / "kafka"
    properties, port = folder / "server.properties", settings.stream.broker_port
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    properties.write_text(PROPERTIES.format(host=BROKER_HOST, port=port, controller=port + 1, data=data))
    if not (data / "meta.properties").exists():
        format_folder(settings, properties)
    return kafka_command(settings, "kafka.Kafka", str(properties))


def format_folder(settings: Settings, properties: Path) -> None:
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    command = kafka_command(settings, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"Kafka's folder cannot be made ready: {done.stdout}{done.stderr}")


def turn_on(settings: Settings) -> bool:
    """Remember that the home has a stream, and of which servers; False if it knows.

    Raises `LocalError` if a stream runs that was started otherwise.
    """
    own = settings.stream.kafka is None
    new: Remembered = {
        "kafka": settings.stream.kafka or servers(settings),
        "topic": settings.stream.topic,
        "broker_port": settings.stream.broker_port if own else None,
    }
    before = remembered(settings)
    if before != new and find(service_of_stream(settings)):
        follows = f"{before['topic']} at {before['kafka']}" if before else "what it was started with"
        raise LocalError(f"the stream of {settings.home} runs and follows {follows}; `tailrace stream stop` it first")
    put(stream_record(settings), json.dumps(new))
    return before != new


def turn_off(settings: Settings) -> None:
    stream_record(settings).unlink(missing_ok=True)


def known(settings: Settings) -> Settings:
    """The settings with what the home remembers of its stream, which commands without them go by as well."""
    known = remembered(settings)
    if known is None:
        return replace(settings, stream=replace(settings.stream, enabled=False))
    port = known["broker_port"] or settings.stream.broker_port
    stream = replace(
        settings.stream, enabled=True, kafka=str(known["kafka"]), topic=str(known["topic"]), broker_port=int(port)
    )
    return replace(settings, stream=stream)


def followed_by_stream(settings: Settings) -> str | None:
    """What the stream of a home follows, in words; None where it has none, or no definitions that can be used."""
    if not settings.stream.enabled:
        return None
    from tailrace.definitions import Kafka, load_definitions  # which load what checks conditions

    try:
        source = load_definitions(settings.features).streamed_source
    except DefinitionError:  # the stream's own log says why
        return None
    for reading in source.readings:
        if isinstance(reading, Kafka):
            return f"the topic {reading.topic or settings.stream.topic} at TAILRACE_KAFKA={settings.stream.kafka}"
    return f"the landing folder of {source.name}"


def streaming_services(settings: Settings) -> list[Service]:
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
        return probe.connect_ex((BROKER_HOST, port)) == 0


def keep_running(settings: Settings) -> str:
    """Start the stream unless it runs, and wait until it has reported; says what was found or done.

    Raises `LocalError` if it ends at once, or where `up` or `down` are at work, which start and stop it themselves.
    """
    if stream_runs(settings.home):
        return "the stream runs"
    service = service_of_stream(known(settings))
    with service_lock(settings, wait=False):
        begins = find(service) is None
        if begins:
            start_service(service)
        deadline = time.monotonic() + START_SECONDS
        while (process := find(service)) is not None:
            heartbeat = read_heartbeat(settings.home)
            if heartbeat is not None and heartbeat.pid == process.pid:
                started = f"the stream did not run, and was started: process {process.pid}, log {service.log}"
                return started if begins else "the stream runs"
            if time.monotonic() > deadline:
                raise LocalError(f"the stream has not begun after {START_SECONDS:g} s; its log is {service.log}")
            time.sleep(LOOK_SECONDS)
    raise LocalError(f"the stream has ended; the end of its log, {service.log}:\n{last_lines(service)}")


def stop_running(settings: Settings) -> bool:
    """Stop a stream that runs in the background; False if none does."""
    with service_lock(settings):
        return stop_service(service_of_stream(settings))
