"""The reader's sockets: who listens, on what, and TLS."""

import ctypes
import resource
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from serving.common.messages import ServingError
from tailrace.errors import SetupError
from tailrace.settings import TlsSettings

HANDSHAKE_SECONDS = 0.1
EMPTYING_SECONDS = 5.0

# The kernel's classic packet filter (https://docs.kernel.org/networking/filter.html), for which Python has no names.
SO_ATTACH_FILTER = 26
# Drop a segment that opens a connection, SYN without ACK in byte 13 of its header, and keep all others.
ONLY_OPEN_CONNECTIONS = (
    (0x30, 0, 0, 13),  # load the byte
    (0x54, 0, 0, 0x12),  # leave SYN and ACK of it
    (0x15, 0, 1, 0x02),  # if it is only a SYN,
    (0x06, 0, 0, 0),  # keep nothing,
    (0x06, 0, 0, 0xFFFFFFFF),  # else all
)


def check_tls(settings: TlsSettings | None) -> None:
    """Raises `ServingError` if the certificate or its key cannot be used."""
    tls_context(settings)


def tls_context(settings: TlsSettings | None) -> ssl.SSLContext | None:
    """The context that serves HTTPS with TLS 1.2 or newer; None if nothing is set. Raises `ServingError`."""
    if settings is None:
        return None
    for path in (settings.certificate, settings.key):
        try:
            path.read_bytes()
        except OSError as error:
            raise ServingError(f"cannot serve HTTPS: {path} cannot be read, {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without the empty password OpenSSL would ask the terminal for that of an encrypted key, and wait.
        context.load_cert_chain(settings.certificate, settings.key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ServingError(
            f"cannot serve HTTPS: {settings.certificate} and {settings.key} are not a certificate with its own key, both "
            f"in PEM and without a password ({getattr(error, 'reason', None) or error})"
        ) from error
    return context


class AddressError(SetupError):
    """The reader cannot listen there; the message says why."""


def raise_descriptor_limit() -> None:
    """Let this process and its children open as many files and connections as the system allows them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # of a system that calls its limit infinite and takes no infinite one
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def be_succeeded(listening: socket.socket) -> None:
    """Let a reader that starts later have the port, although connections of this one are still in TIME-WAIT.

    Accepted connections inherit the option, and keep it when they have ended. It is set as listening begins and not
    before: two sockets that have it and do not listen yet share an address, so two readers that start at the same
    moment would not notice each other.
    """
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


@contextmanager
def bound_sockets(host: str, port: int, *, count: int) -> Iterator[tuple[socket.socket, ...]]:
    """Sockets of one port, 0 for any that is free; each gets its part of the connections once somebody listens on it.

    A first one, bound without SO_REUSEPORT, fails where another server listens, with whom requests would be shared
    silently.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        exclusive, *shared = (stack.enter_context(socket.socket(family)) for _ in range(count + 1))
        exclusive.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            exclusive.bind((host, port))
            bound = int(exclusive.getsockname()[1])
            exclusive.close()
            for one in shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                one.bind((host, bound))
        except (OSError, OverflowError) as error:
            raise AddressError(f"cannot listen on {host} port {port}: {error}; choose another, or 0 for any") from error
        yield tuple(shared)


def take_no_more(sockets: Sequence[socket.socket]) -> None:
    """Let no new connection in, and wait until the workers have accepted those that are.

    A socket that is closed resets what waits in it, so it has to be empty before. Where the kernel is not Linux's,
    a connection that comes in the last moment is reset.
    """
    if sys.platform == "linux":
        program = b"".join(struct.pack("HBBI", *instruction) for instruction in ONLY_OPEN_CONNECTIONS)
        buffer = ctypes.create_string_buffer(program)
        # struct sock_fprog: the number of instructions, and where they are.
        fprog = struct.pack("HL", len(ONLY_OPEN_CONNECTIONS), ctypes.addressof(buffer))
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
    time.sleep(HANDSHAKE_SECONDS)  # for connections that are half open
    deadline = time.monotonic() + EMPTYING_SECONDS
    while select.select(sockets, [], [], 0)[0] and time.monotonic() < deadline:
        time.sleep(0.01)
