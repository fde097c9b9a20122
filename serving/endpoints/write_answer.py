"""What a write is answered: per entity whether it was written and, where not, why."""

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from serving.common.request import BadRequest
from serving.http.errors import as_json
from tailrace.schemas.slots import from_micros, to_text
from tailrace.store.direct.rivals import Overwritten, Refused, Stale
from tailrace.store.direct.wanted import Written

OK, MIXED, INVALID, STALE = 200, 207, 400, 409

Result = dict[str, Any]


def result_of(result: Written | BadRequest) -> tuple[int, Result]:
    """The HTTP status of a write of this entity only, and its result."""
    if isinstance(result, BadRequest):
        return INVALID, {"status": "INVALID", "detail": str(result)}
    occurred_at = to_text(from_micros(result.order.occurred_at))
    if result.result is None:
        return OK, {"status": "WRITTEN", "occurred_at": occurred_at}
    if isinstance(result.result, Overwritten):
        return OK, {"status": "WRITTEN", "occurred_at": occurred_at, "overwritten": True}
    if isinstance(result.result, Refused):
        return INVALID, {"status": "INVALID", "detail": f"the store refused it: {result.result.why}"}
    return STALE, {"status": "STALE", "occurred_at": occurred_at} | stored(result.result)


def stored(stale: Stale) -> Result:
    """When the value that the store has is of; missing if the view has just changed hands."""
    return {"stored_at": None if stale.stored is None else to_text(from_micros(stale.stored.occurred_at))}


def answer_of(view: str, results: Sequence[Written | BadRequest]) -> web.Response:
    """The answer to a write: 207 where entities fared differently."""
    statuses, bodies = zip(*map(result_of, results), strict=True)
    status = statuses[0] if len({*statuses}) == 1 else MIXED
    body = {"view": view, "results": bodies}
    if status in {INVALID, STALE}:
        body["detail"] = bodies[0].get("detail") or "the store has a later value"
    return as_json(orjson.dumps(body), status=status)
