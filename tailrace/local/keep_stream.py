"""Keep the stream running in the background, whoever asks and however often."""

import time

from jobs.streaming.heartbeat import read_heartbeat, runs
from tailrace.local.service import LocalError, alone, find, last_lines, start, stop
from tailrace.local.streaming import known, service_of_stream
from tailrace.settings import Settings

START_SECONDS = 120.0
LOOK_SECONDS = 0.2


def keep_running(settings: Settings) -> str:
    """Start the stream unless it runs, and wait until it has told of itself; says what was found or done.

    Raises `LocalError` where it ends at once, or where `up` or `down` are at work, which start and stop it themselves.
    """
    if runs(settings.home):
        return "the stream runs"
    service = service_of_stream(known(settings))
    with alone(settings, wait=False):
        begins = find(service) is None
        if begins:
            start(service)
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
    """Stop a stream that runs in the background; False where none does."""
    with alone(settings):
        return stop(service_of_stream(settings))
