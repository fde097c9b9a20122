"""Which form an answer takes: what the headers of a request accept, and what of it the reader likes best."""

import asyncio
import zlib
from collections.abc import Callable, Iterable
from functools import lru_cache

import zstandard

from serving.answers import arrow, json
from serving.answers.json import Answer
from serving.common.interface import ARROW, COMPACT, FEAST
from serving.common.loop import Steps
from tailrace.errors import UsageError

WRITERS: dict[str, Callable[[Answer], Steps]] = {
    FEAST: json.to_feast,
    COMPACT: json.to_compact,
    ARROW: arrow.to_answer,
}
ENCODINGS = ("zstd", "gzip", "identity")
SMALLEST = 1_024  # bytes; less is not worth the time
LARGEST_AT_ONCE = 2**18  # bytes; what is more keeps the event loop too long
HEADERS_KEPT = 256


class NotAcceptable(UsageError):
    """A request that takes none of the forms there are; the message names them."""

    http_status = 406


@lru_cache(maxsize=HEADERS_KEPT)
def form_of(accept: str) -> str:
    """The media type to answer with, for the value of an Accept header; raises `NotAcceptable`."""
    wanted = weights(accept or "*/*")
    best = first_of(WRITERS, lambda form: weight_of(wanted, form, f"{form.partition('/')[0]}/*", "*/*"))
    if best is None:
        raise NotAcceptable(f"header Accept: {accept!r} takes none of the forms there are: {', '.join(WRITERS)}")
    return best


@lru_cache(maxsize=HEADERS_KEPT)
def encoding_of(accept_encoding: str) -> str:
    """How to pack an answer; not at all unless the header names a way."""
    wanted = weights(accept_encoding)
    return first_of(ENCODINGS[:-1], lambda one: weight_of(wanted, one)) or "identity"


async def packed(body: bytes, encoding: str) -> bytes:
    return await asyncio.to_thread(pack, body, encoding) if len(body) > LARGEST_AT_ONCE else pack(body, encoding)


def pack(body: bytes, encoding: str) -> bytes:
    if encoding == "zstd":
        return zstandard.ZstdCompressor(level=1).compress(body)
    return zlib.compress(body, level=1, wbits=31)


def weights(header: str) -> dict[str, float]:
    """The items of a header and how much each is wanted (RFC 9110, 12.4.2); what cannot be understood is not."""
    found = {}
    for item in header.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        found[name] = next((quality(value) for value in parameters if value.startswith("q=")), 1.0)
    return found


def quality(parameter: str) -> float:
    try:
        weight = float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


def weight_of(wanted: dict[str, float], *names: str) -> float:
    """The weight of the most special of these names that there is."""
    return next((wanted[name] for name in names if name in wanted), 0.0)


def first_of(known: Iterable[str], weight: Callable[[str], float]) -> str | None:
    """The first with the greatest weight; None where all are refused."""
    best = max(known, key=weight)
    return best if weight(best) > 0 else None
