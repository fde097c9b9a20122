"""How long a request may take: what its header says, or the reader's default."""

import asyncio
import math

from multidict import CIMultiDictProxy

from serving.common.headers import only_value
from serving.common.interface import BUDGET_HEADER
from serving.common.request import BadRequest

LONGEST_MS = 60_000
LONGEST_QUOTED = 40  # characters of an invalid budget


def deadline_of(headers: CIMultiDictProxy[str], *, default_ms: float) -> float:
    """When the store must have answered, in the event loop's time; the request begins now. Raises `BadRequest`."""
    text = only_value(headers, BUDGET_HEADER)
    return asyncio.get_running_loop().time() + (default_ms if text is None else milliseconds(text)) / 1000


def milliseconds(text: str) -> float:
    try:
        budget = float(text)
    except ValueError:
        budget = math.nan
    if not 0 < budget <= LONGEST_MS:
        raise BadRequest(
            f"header {BUDGET_HEADER}: {text[:LONGEST_QUOTED]!r} is not a budget; give milliseconds, above 0 and at most {LONGEST_MS}"
        )
    return budget
