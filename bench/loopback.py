"""Small servers on loopback that belong to the process which started them."""

import asyncio
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import uvloop

HOST = "127.0.0.1"


def address_of(url: str) -> tuple[str, int]:
    """Host and port of an address that names both."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{url} has no host or no port")
    return parts.hostname, parts.port


def serve(protocol: Callable[[], asyncio.Protocol]) -> None:
    """Listen on a free port, print its address, and go on until standard input ends, as it does with the parent."""
    uvloop.run(until_input_ends(protocol))


async def until_input_ends(protocol: Callable[[], asyncio.Protocol]) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(protocol, HOST, 0)
    sys.stdout.write(f"http://{HOST}:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()
