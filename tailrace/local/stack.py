"""Start, look at and stop everything of one home: store, broker and stream where streaming is on, reader, Airflow."""

import os
import socket
import sys
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass

from tailrace.local import airflow, streaming
from tailrace.local.background import (
    HEALTHY,
    PLAIN_HTTP,
    STARTING,
    STOPPED,
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
from tailrace.settings import Settings
from tailrace.store import embedded
from tailrace.store.embedded import DIRECT, HOST

READER = "reader"
STORE = "store"
STOP_SECONDS = 20.0
START_SECONDS = 180.0
LOOK_SECONDS = 0.3

# A reader that ends reports at once a definition that cannot be used; a scheduler that finds no API fails its first tasks.
WAITED_FOR = {streaming.BROKER, READER, airflow.API_SERVER}

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ServiceState:
    """One service: its state, its process and address where it has them, and the log that says more."""

    state: str
    pid: int | None
    address: str | None
    log: str | None


def up(settings: Settings, progress: Progress, *, with_stream: bool = False) -> dict[str, ServiceState]:
    """Start what does not run, in order, and wait until all is healthy; a stream that is asked for once stays until `down`.

    Raises `LocalError` if a port is in use or a service ends or does not get healthy; what was started is stopped then.
    """
    with service_lock(settings):
        new_stream = (with_stream or settings.stream.enabled) and streaming.turn_on(settings)
        settings = streaming.known(settings)
        missing: list[Service] = []
        try:
            refuse_ports_in_use(settings, not_running(settings))
            if new_stream:  # an Airflow that runs knows nothing of it
                stop_all(
                    [one for one in airflow.airflow_services(settings, settings.run_folder) if find(one)], progress
                )
            missing = not_running(settings)
            bring_up(settings, missing, progress)
        except BaseException:
            for service in reversed(missing):
                stop_service(service)
            if new_stream:
                streaming.turn_off(settings)
            raise
    return service_states(settings)


def not_running(settings: Settings) -> list[Service]:
    return [service for service in services(settings) if find(service) is None]


def bring_up(settings: Settings, missing: list[Service], progress: Progress) -> None:
    progress(STORE)
    embedded.store_url(settings)
    for service in missing:
        if service.name == airflow.API_SERVER:
            progress("Airflow's database")
            airflow.migrate(settings)
        progress(service.name)
        start_service(service)
        if service.name in WAITED_FOR:
            wait_for(settings, service.name)
    for service in services(settings):
        progress(f"{service.name}, until it is healthy")
        wait_for(settings, service.name)


def down(settings: Settings, progress: Progress) -> list[str]:
    """Stop all of it, the scheduler first and once its running tasks have ended; the names of what ran."""
    with service_lock(settings):
        settings = streaming.known(settings)
        stopped = stop_all(services(settings), progress)
        streaming.turn_off(settings)
        progress(STORE)
        if settings.store.url is None and embedded.stop(settings):
            stopped.append(STORE)
    return stopped


def stop_all(running: list[Service], progress: Progress) -> list[str]:
    """Stop services, the last first; the names of those that ran."""
    stopped = []
    for service in reversed(running):
        drains = service.name == airflow.SCHEDULER
        progress(f"{service.name}, which waits for its running tasks" if drains else service.name)
        if stop_service(service):
            stopped.append(service.name)
    return stopped


def service_states(settings: Settings) -> dict[str, ServiceState]:
    """How each service is, in the order in which they start."""
    settings = streaming.known(settings)
    health = airflow.airflow_health(settings)
    found = {STORE: store_status(settings)}
    for service in services(settings):
        process = find(service)
        found[service.name] = ServiceState(
            state=state_of(settings, service.name, health) if process else STOPPED,
            pid=process.pid if process else None,
            address=addresses(settings).get(service.name),
            log=str(service.log),
        )
    return found


def services(settings: Settings) -> list[Service]:
    port, workers = settings.local.reader_port, settings.local.reader_workers
    reader = Service(
        name=READER,
        command=(sys.executable, "-m", "serving", "--port", str(port), "--workers", str(workers), "--local"),
        environment=os.environ | places_of(settings) | PLAIN_HTTP,
        folder=settings.run_folder,
        stop_seconds=STOP_SECONDS,
    )
    return [*streaming.streaming_services(settings), reader, *airflow.airflow_services(settings, settings.run_folder)]


def addresses(settings: Settings) -> dict[str, str]:
    """By service."""
    return {
        streaming.BROKER: f"{HOST}:{settings.stream.broker_port}",
        READER: f"http://{HOST}:{settings.local.reader_port}",
        airflow.API_SERVER: airflow.url(settings),
    }


def state_of(settings: Settings, name: str, health: dict[str, str]) -> str:
    """The state of a service whose process runs."""
    if name == READER:
        return HEALTHY if answers(f"{addresses(settings)[READER]}/health") else STARTING
    if name in {streaming.BROKER, streaming.STREAM}:
        return streaming.state_of(settings, name)
    health_now = health.get(name, "unknown")
    return health_now if health_now in {HEALTHY, UNHEALTHY} else STARTING


def store_status(settings: Settings) -> ServiceState:
    if settings.store.url:
        state = HEALTHY if answers(settings.store.url) else UNHEALTHY
        return ServiceState(state=state, pid=None, address=settings.store.url, log=None)
    running = embedded.status(settings)
    if running is None:
        return ServiceState(state=STOPPED, pid=None, address=None, log=None)
    state = HEALTHY if answers(running.url) else UNHEALTHY
    return ServiceState(
        state=state, pid=running.pid, address=running.url, log=str(settings.home / "store" / "store.log")
    )


def answers(url: str) -> bool:
    try:
        with DIRECT.open(url, timeout=3):
            return True
    except urllib.error.HTTPError:
        return True  # it speaks HTTP
    except OSError:
        return False


def wait_for(settings: Settings, name: str) -> None:
    """Wait until a service is healthy; `LocalError` where it ends, or takes too long."""
    service = next(one for one in services(settings) if one.name == name)
    deadline = time.monotonic() + START_SECONDS
    while True:
        if find(service) is None:
            raise LocalError(f"{name} has ended; the end of its log, {service.log}:\n{last_lines(service)}")
        if state_of(settings, name, airflow.airflow_health(settings)) == HEALTHY:
            return
        if time.monotonic() > deadline:
            late = f"{name} is not healthy after {START_SECONDS:g} s"
            raise LocalError(f"{late}; the end of its log, {service.log}:\n{last_lines(service)}")
        time.sleep(LOOK_SECONDS)


def refuse_ports_in_use(settings: Settings, missing: list[Service]) -> None:
    broker_port = settings.stream.broker_port
    ports = (
        (streaming.BROKER, "TAILRACE_KAFKA_PORT", broker_port),
        (streaming.BROKER, "TAILRACE_KAFKA_PORT", broker_port + 1),  # its controller's
        (READER, "TAILRACE_READER_PORT", settings.local.reader_port),
        (airflow.API_SERVER, "TAILRACE_AIRFLOW_PORT", settings.local.airflow_port),
    )
    names = {service.name for service in missing}
    for name, setting, port in ports:
        if name in names and is_in_use(port):
            raise LocalError(f"port {port} is in use by another program; set {setting} to a free one for {name}")


def is_in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False
