"""Who asks, with which scopes, and how a request is refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from multidict import CIMultiDictProxy

from tailrace.errors import UsageError

SCHEME = "bearer"
# RFC 6750, section 2.1: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
CREDENTIAL = re.compile(r"[A-Za-z0-9._~+/-]+=*")

# What scopes allow: `read:SERVICE` and `read:*`, `write:VIEW` and `write:*`, `metrics`.
READ_ALL, WRITE_ALL, METRICS = "read:*", "write:*", "metrics"
SCOPE = re.compile(r"(read|write):(\*|[a-z][a-z0-9_]*)|metrics")

UNKNOWN = "unknown"
HOW = "send `Authorization: Bearer …` with a key or a token"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who asks, and with which scopes; `name` begins with `key:` or `token:`, or is `local`."""

    name: str
    scopes: frozenset[str]


LOCAL = Identity(name="local", scopes=frozenset({READ_ALL, WRITE_ALL, METRICS}))


class AccessRefused(UsageError):
    """A request that is turned away, with the status and headers of its answer; `name` is who asked, if that is known.

    `requested` is the scope, or what else was asked for. Neither it nor the message holds anything secret.
    """

    http_status = 403
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, why: str, *, name: str = UNKNOWN, requested: str = "") -> None:
        super().__init__(why)
        self.name = name
        self.requested = requested


class NoCredential(AccessRefused):
    """Nobody said who asks."""

    http_status = 401
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class BadCredential(AccessRefused):
    """The credential that was sent proves nothing."""

    http_status = 401
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class NotAllowed(AccessRefused):
    """The identity lacks the scope."""


class Misdirected(AccessRefused):
    """A request for a host that this reader does not answer for (RFC 9110, section 15.5.20)."""

    http_status = 421


class UncheckedCredential(AccessRefused):
    """A token that cannot be checked now; it may be good."""

    retryable = True
    http_status = 503
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


def credential_of(headers: CIMultiDictProxy[str]) -> str:
    """The key or token of a request; raises `NoCredential` or `BadCredential`."""
    sent = headers.getall("Authorization", ())
    if not sent:
        raise NoCredential(f"nobody is named; {HOW}")
    if len(sent) > 1:
        raise BadCredential("there are several headers Authorization; send one")
    scheme, _, credential = sent[0].partition(" ")
    credential = credential.strip(" ")
    if scheme.lower() != SCHEME or not CREDENTIAL.fullmatch(credential):
        raise BadCredential(f"the header Authorization holds no bearer credential; {HOW}")
    return credential
