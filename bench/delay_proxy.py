"""`python -m bench.delay_proxy --upstream URL --milliseconds 20`: a store that is farther away.

Every byte of an answer arrives so much later than it came, whatever else is on its way: nothing waits for anything but
the time. Bytes are not looked at.
"""

import argparse
import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from bench.loopback import address_of, serve

# The loop counts whole milliseconds and may begin in the midst of one: a timer that is never early asks for one more.
TIMER_GRAIN = 0.001

# Calls something after so many seconds, as an event loop's `call_later` does.
Later = Callable[[float, Callable[[], None]], object]


class Farther(asyncio.Protocol):
    """The side of the client: its bytes go on at once."""

    def __init__(self, host: str, port: int, delay: float, later: Later | None = None) -> None:
        self._address = (host, port)
        self._delay = delay
        self._later = later or asyncio.get_running_loop().call_later
        self._early: list[bytes] = []
        self._upstream: asyncio.Transport | None = None
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base
        self._connecting = asyncio.ensure_future(self._connect())

    def data_received(self, data: bytes) -> None:
        if self._upstream is None:
            self._early.append(data)
        else:
            self._upstream.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own signature
        self._closed = True
        if self._upstream is not None:
            self._upstream.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            upstream, _ = await loop.create_connection(self._late, *self._address)
        except OSError:  # as if this had not been reached either
            self._transport.abort()
            return
        if self._closed:
            upstream.close()
            return
        self._upstream = upstream
        upstream.write(b"".join(self._early))
        self._early.clear()

    def _late(self) -> "Late":
        return Late(self._transport, self._delay, self._later)


class Late(asyncio.Protocol):
    """The side of the store: its bytes, and its end, go on after the delay."""

    def __init__(self, client: asyncio.Transport, delay: float, later: Later) -> None:
        self._client = client
        self._delay = delay
        self._later = later
        self._waiting: deque[bytes] = deque()

    def data_received(self, data: bytes) -> None:
        self._waiting.append(data)
        self._later(self._delay, self._pass_on)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own signature
        self._later(self._delay, self._client.close)

    def _pass_on(self) -> None:
        data = self._waiting.popleft()
        if not self._client.is_closing():
            self._client.write(data)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.delay_proxy", description="Answer later than the store.")
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--milliseconds", type=float, default=20.0)
    options = parser.parse_args()
    host, port = address_of(options.upstream)
    delay = options.milliseconds / 1000 + TIMER_GRAIN
    serve(lambda: Farther(host, port, delay))


if __name__ == "__main__":
    main()
