"""Why there is no answer, as `{"detail": …}`, the shape of Feast's."""

from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from online.direct.log import LogError
from online.direct.writer import Busy
from online.keys import ItemKeyError
from online.lanes import OtherLane
from online.wire import StoreError
from serving.admission import Overloaded
from serving.answers.negotiate import NotAcceptable
from serving.on_demand import OnDemandError
from serving.request import BadRequest

RETRY_SECONDS = 1

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ServingError(Exception):
    """The reader cannot be started; the message says why."""


@web.middleware
async def tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (BadRequest, ItemKeyError) as error:
        return detail(400, str(error))
    except NotAcceptable as error:
        return detail(406, str(error))
    except OtherLane as error:
        return detail(409, str(error))
    except (Busy, LogError, Overloaded, StoreError) as error:
        refusal = detail(503, str(error))
        refusal.headers["Retry-After"] = str(RETRY_SECONDS)
        return refusal
    except OnDemandError as error:
        return detail(500, str(error))
    except web.HTTPException as error:
        error.text = orjson.dumps({"detail": error.text}).decode()
        error.content_type = "application/json"
        raise


def detail(status: int, text: str) -> web.Response:
    return as_json(orjson.dumps({"detail": text}), status=status)


def as_json(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
