"""The body of a request, which has to arrive in time."""

import asyncio

from aiohttp import web

from serving.request import BadRequest

BODY_SECONDS = 5.0  # for a body to arrive; a slow client holds nothing for longer


async def body_of(request: web.Request) -> bytes:
    """All of it; raises `BadRequest`, and what aiohttp answers 408 and 413 for."""
    if request.content.is_eof():  # it came with its headers
        return await request.read()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_SECONDS:g} s") from error
    except web.RequestPayloadError as error:
        raise BadRequest(f"the body cannot be read: {error}") from error
