"""Every request is counted, given an id and, where that is wanted, logged and traced."""

import itertools
import re
import secrets
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from serving.answers.json import Answer
from serving.engine import CURRENT
from serving.http.admission import HELD
from serving.read.columns import Found
from serving.telemetry.access_log import TRIP, AccessLog, Trip
from serving.telemetry.metrics import REQUEST_SECONDS, REQUESTS, ROWS, ROWS_ASKED, STAGE_SECONDS, Cells
from serving.telemetry.tracing import Tracing

ID = "X-Request-Id"
USABLE_ID = re.compile(r"[!-~]{1,128}")
STATUSES = tuple((int(one), one.name) for one in reversed(Found))  # the most frequent first


def observing(cells: Cells, log: AccessLog, tracing: Tracing | None) -> Middleware:
    """A middleware, to stand around all others; once the process closes, it also ends the connection of each request."""
    ids = (f"{secrets.token_hex(6)}-{number:x}" for number in itertools.count(1))

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        trip = request[TRIP] = Trip()
        given = request.headers.getall(ID, ())
        trip.id = given[0] if len(given) == 1 and USABLE_ID.fullmatch(given[0]) else next(ids)
        answered: web.StreamResponse | None = None
        try:
            answered = await handler(request)
            return answered
        except web.HTTPException as error:
            answered = error
            raise
        finally:
            status = 500  # of a request that is cancelled, because the process has to end
            if answered is not None:
                status = answered.status
                answered.headers[ID] = trip.id
                if request.app[CURRENT].closing or getattr(request.protocol, "has_dropped", False):
                    answered.force_close()
            cells.add((REQUESTS, path_of(request), str(status)))
            log.record(request, answered, trip, status=status)
            if tracing is not None:
                tracing.record(request, trip, status=status)
            await release(request, answered)

    return observe


async def release(request: web.Request, answered: web.StreamResponse | None) -> None:
    """Give back what a request holds, once its answer was taken or nobody takes it."""
    held = request.get(HELD)
    if held is None:
        return
    try:
        if answered is not None and not isinstance(answered, web.HTTPException):
            with suppress(ConnectionError):  # which aiohttp meets as well, and knows
                await answered.prepare(request)
                await answered.write_eof()
    finally:
        held.release()


def path_of(request: web.Request) -> str:
    """The path of a route; whatever else was asked for is one to the metrics, which must not grow with it."""
    resource = request.match_info.route.resource
    return "other" if resource is None else resource.canonical


def count_answer(cells: Cells, trip: Trip, answer: Answer) -> None:
    cells.observe((REQUEST_SECONDS,), trip.total)
    for stage, seconds in trip.seconds.items():
        cells.observe((STAGE_SECONDS, stage), seconds)
    cells.add((ROWS_ASKED,), answer.asked.rows)
    for view, features in answer.plan.wanted.items():
        # All features of a row were found or none, but for those that an older schema lacks: the first one decides.
        found = answer.columns[f"{view}:{features[0].name}"].found.tobytes()
        left = len(found)
        for status, name in STATUSES:
            if rows := found.count(status):
                cells.add((ROWS, view, name), rows)
                left -= rows
                if not left:
                    break
