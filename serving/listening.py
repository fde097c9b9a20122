"""The socket that all workers listen on: while any process has it, a connection that waits in it is not lost."""

import ctypes
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

WAITING = 1024  # connections that no worker has taken yet
HANDSHAKE_SECONDS = 0.1
EMPTYING_SECONDS = 5.0

# The kernel's classic packet filter (https://docs.kernel.org/networking/filter.html), for which Python has no names.
SO_ATTACH_FILTER = 26
# Drop a segment that opens a connection, SYN without ACK in byte 13 of its header, and keep all others.
ONLY_OPEN_CONNECTIONS = (
    (0x30, 0, 0, 13),  # load the byte
    (0x54, 0, 0, 0x12),  # leave SYN and ACK of it
    (0x15, 0, 1, 0x02),  # if it is SYN alone,
    (0x06, 0, 0, 0),  # keep nothing,
    (0x06, 0, 0, 0xFFFFFFFF),  # else all
)


class AddressError(Exception):
    """The reader cannot listen there; the message says why."""


@contextmanager
def listening_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket, which refuses connections until a worker listens on it; port 0 takes a free one."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except (OSError, OverflowError) as error:
            raise AddressError(f"cannot listen on {host} port {port}: {error}; choose another, or 0 for any") from error
        yield bound


def take_no_more(listening: socket.socket) -> None:
    """Let no new connection in, and wait until the workers have taken those that are.

    A socket that is closed resets what waits in it, so that it has to be empty before. Where the kernel is not Linux's,
    one that comes in the last moment is reset.
    """
    if sys.platform == "linux":
        program = b"".join(struct.pack("HBBI", *instruction) for instruction in ONLY_OPEN_CONNECTIONS)
        buffer = ctypes.create_string_buffer(program)
        # struct sock_fprog: the number of instructions, and where they are.
        fprog = struct.pack("HL", len(ONLY_OPEN_CONNECTIONS), ctypes.addressof(buffer))
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
    time.sleep(HANDSHAKE_SECONDS)  # for connections that are half open
    deadline = time.monotonic() + EMPTYING_SECONDS
    while has_waiting(listening) and time.monotonic() < deadline:
        time.sleep(0.01)


def has_waiting(listening: socket.socket) -> bool:
    return bool(select.select([listening], [], [], 0)[0])
