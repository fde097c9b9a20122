"""The body of a request, which has to arrive in time."""

import asyncio

from aiohttp import web
from aiohttp.http import HttpProcessingError

from serving.common.request import BadRequest
from serving.http.admission import Admission, held_by
from tailrace.errors import UsageError

BODY_BYTES = 2**20
BODY_SECONDS = 5.0  # for a body to arrive; a slow client holds nothing for longer


class ClientLeft(UsageError):
    """The client closed the connection before its request was whole; there is nobody to answer."""

    http_status = 499  # as nginx calls it; nobody sees the answer


async def body_of(request: web.Request, admission: Admission) -> bytes:
    """All of it; raises `BadRequest`, `ClientLeft`, `Overloaded`, and what aiohttp answers 408 and 413 for."""
    try:
        if request.content.is_eof():  # it came with its headers
            return await request.read()
        admission.have_room_for_body(held_by(request), size_of(request))
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_SECONDS:g} s") from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise BadRequest(f"the body cannot be read: {error}") from error
    except OSError as error:
        raise ClientLeft from error


def size_of(request: web.Request) -> int:
    """Bytes that the body may have: what it says, or as many as are allowed where it does not, or is packed."""
    said = request.content_length
    return BODY_BYTES if said is None or "Content-Encoding" in request.headers else min(said, BODY_BYTES)
