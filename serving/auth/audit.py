"""A line for every request that access control refuses."""

import json
import logging
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.log import server_logger

from serving.auth.identity import Refused

LONGEST = 200  # characters of what a caller chose

log = logging.getLogger("serving.audit")


def record(request: web.Request, refusal: Refused) -> None:
    """Log one line of JSON. The query of the address and the headers stay out of it: they may hold secrets."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "remote": request.remote,
        "identity": refusal.name,
        "method": request.method[:LONGEST],
        "path": request.rel_url.raw_path[:LONGEST],
        "status": refusal.http_status,
        "wanted": refusal.wanted[:LONGEST],
        "why": str(refusal)[:LONGEST],
    }
    # Not orjson, which refuses the halves of characters that an address may hold.
    log.warning("%s", json.dumps(line))


def write_lines() -> None:
    """Write the lines to the error stream as they are, without what goes before those of other loggers.

    And keep keys and tokens out of those: what aiohttp says of a request that is not HTTP holds a part of it.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.propagate = False
    server_logger.addFilter(without_what_was_sent)


def without_what_was_sent(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.exc_info = None
    return True
