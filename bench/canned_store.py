"""`python -m bench.canned_store --answers FILE`: a store that costs nothing and knows a few reads by heart.

FILE is a JSON list of pairs: item keys, and the whole answer to a BatchGetItem whose first key is among them.
"""

import argparse
import asyncio
import re
from pathlib import Path
from typing import cast

import orjson

from bench.loopback import serve

FIRST_KEY = re.compile(rb'\{"S":"([^"]*)"')
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n"
UNKNOWN = b'{"__type":"ValidationException","message":"this read is not known by heart"}'


def prepared(status: bytes, body: bytes) -> bytes:
    return HEAD % (status, len(body)) + body


class Canned(asyncio.Protocol):
    """Answers each request of a connection by the first key in it."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(self._received, 0, end)
        whole = end + 4 + (int(length.group(1)) if length else 0)
        if len(self._received) < whole:
            return
        key = FIRST_KEY.search(self._received, end)
        answer = self._answers.get(key.group(1)) if key else None
        del key, length  # a match holds on to the bytes it was found in
        self._received.clear()
        self._transport.write(answer or prepared(b"400 Bad Request", UNKNOWN))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.canned_store", description="Answer a few reads by heart.")
    parser.add_argument("--answers", type=Path, required=True)
    answers: dict[bytes, bytes] = {}
    for keys, answer in orjson.loads(parser.parse_args().answers.read_bytes()):
        answers |= dict.fromkeys((key.encode() for key in keys), prepared(b"200 OK", orjson.dumps(answer)))
    serve(lambda: Canned(answers))


if __name__ == "__main__":
    main()
