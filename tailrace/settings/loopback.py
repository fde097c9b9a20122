"""What is on this machine, and what comes over the network unchanged."""

import ipaddress
import re
from urllib.parse import urlsplit

AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@/]+))(?::[0-9]*)?")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host; a name other than localhost may lead anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_loopback(authority: str) -> bool:
    """Whether a host with or without a port, as a header Host has it, is this machine under a name that no other has."""
    parts = AUTHORITY.fullmatch(authority)
    return parts is not None and is_loopback((parts[1] or parts[2]).lower())


def comes_unchanged(url: str) -> bool:
    """Whether nobody on the way can change what the address answers: HTTPS, or this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
