"""Where the JARs and the store's program are, and which addresses are this machine's own."""

import ipaddress
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

# The checkout, or the folder that packages are installed in.
CHECKOUT = Path(__file__).resolve().parents[2]

AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@/]+))(?::[0-9]*)?")


def in_checkout() -> bool:
    """Whether this code runs from a checkout, whose `.tools` are made by `make setup`."""
    return (CHECKOUT / "setup" / "environment.py").is_file()


def tools_folder(environment: Mapping[str, str]) -> Path:
    """The folder of JARs and of the store's program; each version has one of its own, as each pins its own downloads."""
    if in_checkout():
        return CHECKOUT / ".tools"
    cache = environment.get("XDG_CACHE_HOME")
    root = Path(cache) if cache else Path.home() / ".cache"
    return root / "tailrace" / version("tailrace")


def set_up_command(*, stream: bool = False) -> str:
    """The command that fills the folder, for messages; with `stream` Kafka's JARs too."""
    if in_checkout():
        return "make setup"
    return "tailrace setup --stream" if stream else "tailrace setup"


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
