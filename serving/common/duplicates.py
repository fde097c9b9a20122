"""Fields that a body gives twice, of which a parser silently takes one."""

import json
from collections.abc import Iterable
from itertools import chain

from tailrace.schemas.strict_json import without_duplicates

BACKSLASH = 92  # as a byte


def check_duplicates(body: bytes, *, fields: int, texts: Iterable[Iterable[str]]) -> None:
    """Raises `Duplicate` where an object in `body` gives a field twice; the body is JSON that was parsed already.

    `fields` is how many there are in what was parsed, `texts` all strings in it, names among them. A colon in the body
    is that of a field or stands in a string, so a body with more colons than these has fields that were dropped.
    A colon written as an escape is the one that this cannot count: such a body is parsed again, slowly.
    """
    beyond = body.count(b":") - fields
    escaped = BACKSLASH in body and b"\\u" in body
    if escaped or (beyond and beyond != "".join(chain.from_iterable(texts)).count(":")):
        json.loads(body.decode(), object_pairs_hook=without_duplicates)
