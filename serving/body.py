"""The body of a request, which has to arrive in time."""

import asyncio

from aiohttp import web
from aiohttp.http import HttpProcessingError

from serving.request import BadRequest

BODY_SECONDS = 5.0  # for a body to arrive; a slow client holds nothing for longer


class ClientLeft(Exception):
    """The client closed the connection before its request was whole; there is nobody to answer."""


async def body_of(request: web.Request) -> bytes:
    """All of it; raises `BadRequest`, `ClientLeft`, and what aiohttp answers 408 and 413 for."""
    try:
        if request.content.is_eof():  # it came with its headers
            return await request.read()
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_SECONDS:g} s") from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise BadRequest(f"the body cannot be read: {error}") from error
    except OSError as error:
        raise ClientLeft from error
