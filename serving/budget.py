"""How long a request may take: what its header says, or the reader's default."""

import asyncio
import math
from collections.abc import Mapping

from serving.request import BadRequest

HEADER = "Tailrace-Budget-Ms"
LONGEST_MS = 60_000


def deadline_of(headers: Mapping[str, str], *, default_ms: float) -> float:
    """When the store has to have told, in the event loop's time; the request begins now. Raises `BadRequest`."""
    text = headers.get(HEADER)
    return asyncio.get_running_loop().time() + (default_ms if text is None else milliseconds(text)) / 1000


def milliseconds(text: str) -> float:
    try:
        budget = float(text)
    except ValueError:
        budget = math.nan
    if not 0 < budget <= LONGEST_MS:
        raise BadRequest(f"header {HEADER}: {text!r} is no budget; give milliseconds, above 0 and at most {LONGEST_MS}")
    return budget
