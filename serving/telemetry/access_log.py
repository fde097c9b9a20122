"""The log of requests: a line of JSON for each, written aside from the event loop."""

import os
from collections import deque
from datetime import UTC, datetime
from threading import Event, Thread
from time import perf_counter

import orjson
from aiohttp import web

from serving.common.messages import brief
from serving.telemetry.board import Cells
from serving.telemetry.metrics import LINES_LOST
from serving.telemetry.trip import Trip
from tailrace.settings import AccessLogging

LOGGER = "serving.access"  # what its lines call themselves, among others on the same output
STANDARD_OUTPUT = 1
EVERY_SECONDS = 0.2
LINES_KEPT = 10_000  # while the output takes none
NAMES_TOLD = 20
LONGEST_NAME = 200  # characters of what a caller chose
WHOLE_BYTES = 4096  # what one write puts into a pipe without another process's in between


class AccessLog:
    """Logs all requests, those that were refused or failed, or none; a context that a thread writes in.

    An output that takes no lines stops nothing: lines that find no room are counted and dropped.
    """

    def __init__(self, which: AccessLogging, cells: Cells, *, descriptor: int = STANDARD_OUTPUT) -> None:
        self._which = which
        self._cells = cells
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._unwritten = 0  # lines that the output refused, until they are counted
        self._stopped = Event()
        self._writer = Thread(target=self._write, name="access-log", daemon=True)

    def __enter__(self) -> "AccessLog":
        if self._which != "off":
            self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._which != "off":
            self._writer.join(5 * EVERY_SECONDS)  # not for ever: the output may take nothing any more

    def record(self, request: web.Request, answer: web.StreamResponse | None, trip: Trip, *, status: int) -> None:
        if self._which == "off" or (self._which == "refused" and status < 400):
            return
        if self._unwritten:
            lost, self._unwritten = self._unwritten, 0
            self._cells.add((LINES_LOST,), lost)
        if len(self._lines) >= LINES_KEPT:
            self._cells.add((LINES_LOST,))
            return
        line = {
            "time": datetime.now(UTC),
            "logger": LOGGER,
            "request_id": trip.id,
            "method": request.method,
            "path": brief(request.path, LONGEST_NAME),
            "status": status,
            "ms": milliseconds(perf_counter() - trip.begun),
            "bytes": answer.content_length if answer is not None else None,
        }
        if trip.why:
            line["why"] = trip.why
        if trip.asked is not None:
            asked = trip.asked
            line |= {"stages_ms": {stage: milliseconds(one) for stage, one in trip.seconds.items()}, "rows": asked.rows}
            names = [brief(one, LONGEST_NAME) for one in asked.features[:NAMES_TOLD]]
            line |= {"feature_service": brief(asked.service, LONGEST_NAME)} if asked.service else {"features": names}
        self._lines.append(orjson.dumps(line) + b"\n")

    def _write(self) -> None:
        while not self._stopped.wait(EVERY_SECONDS):
            self._write_lines()
        self._write_lines()

    def _write_lines(self) -> None:
        while self._lines:
            together = self._lines.popleft()
            while self._lines and len(together) + len(self._lines[0]) <= WHOLE_BYTES:
                together += self._lines.popleft()
            try:
                while together:
                    together = together[os.write(self._descriptor, together) :]
            except OSError:  # nobody reads any more, or a disk is full
                self._unwritten += together.count(b"\n")


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
