"""Who may ask for what: a rule for each route, features by scope, and a record of what was refused."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from enum import Enum, auto
from functools import lru_cache

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.log import server_logger
from multidict import CIMultiDictProxy

from serving.auth.api_keys import PREFIX, KeyRing
from serving.auth.identity import (
    LOCAL,
    METRICS,
    READ_ALL,
    WRITE_ALL,
    AccessRefused,
    BadCredential,
    Identity,
    Misdirected,
    NotAllowed,
    credential_of,
)
from serving.auth.tokens import Tokens
from serving.common.request import FeatureRequest
from serving.http.responses import Handler, detail
from tailrace.definitions import Definitions
from tailrace.settings import AccessSettings
from tailrace.settings.places import names_loopback

LONGEST = 200  # characters of what a caller chose

log = logging.getLogger("serving.audit")

COMBINATIONS_KEPT = 1024  # of scopes

HOSTS = "localhost, 127.0.0.1 or [::1]"
IDENTITY = web.RequestKey("IDENTITY", Identity)
CHECKED = web.RequestKey("CHECKED", bool)


def record(request: web.Request, refusal: AccessRefused) -> None:
    """Log one line of JSON. The query of the address and the headers stay out of it: they may hold secrets."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "remote": request.remote,
        "identity": refusal.name,
        "method": request.method[:LONGEST],
        "path": request.rel_url.raw_path[:LONGEST],
        "status": refusal.http_status,
        "wanted": refusal.requested[:LONGEST],
        "why": str(refusal)[:LONGEST],
    }
    # Not orjson, which refuses the halves of characters that an address may hold.
    log.warning("%s", json.dumps(line))


def log_plain_lines() -> None:
    """Write the lines to the error stream as they are, without what goes before those of other loggers.

    And keep keys and tokens out of those: what aiohttp says of a request that is not HTTP holds a part of it.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.propagate = False
    server_logger.addFilter(without_what_was_sent)


def without_what_was_sent(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.exc_info = None
    return True


class Rule(Enum):
    """Who may use a route. `METRICS` takes that scope; with `BY_BODY` the handler decides.

    It calls `check_read` or `check_write` before it does anything.
    """

    OPEN = auto()
    IDENTIFIED = auto()
    BY_BODY = auto()
    METRICS = auto()
    NOBODY = auto()


RULES: dict[tuple[str, str], Rule] = {
    ("POST", "/get-online-features"): Rule.BY_BODY,
    ("POST", "/v1/write"): Rule.BY_BODY,
    ("GET", "/features"): Rule.IDENTIFIED,
    ("GET", "/openapi.json"): Rule.IDENTIFIED,
    ("GET", "/health"): Rule.OPEN,
    ("GET", "/ready"): Rule.OPEN,
    ("GET", "/metrics"): Rule.METRICS,
}


def rule_of(match: web.UrlMappingMatchInfo) -> Rule:
    """The rule of the route that a request found; known callers learn that it does not exist."""
    if match.http_exception is not None:
        return Rule.IDENTIFIED
    resource = match.route.resource
    return Rule.NOBODY if resource is None else rule(match.route.method, resource.canonical)


def rule(method: str, path: str) -> Rule:
    """HEAD is a GET whose body stays here."""
    return RULES.get(("GET" if method == "HEAD" else method, path), Rule.NOBODY)


class ReadRules:
    """Which features may be read with which scopes: those of the services that `read:SERVICE` names."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._readable = lru_cache(maxsize=COMBINATIONS_KEPT)(self._make)

    def check(self, identity: Identity, asked: FeatureRequest) -> None:
        """Raises `NotAllowed` for a service without its scope, and for a feature that is in no service with one."""
        if READ_ALL in identity.scopes:
            return
        if asked.service is not None:
            require(identity, f"read:{asked.service}", READ_ALL)
            return
        readable = self._readable(identity.scopes)
        if not readable.issuperset(asked.features):
            beyond = ", ".join(name for name in asked.features if name not in readable)
            raise NotAllowed(
                f"{beyond}: in no feature service that {identity.name} may read, which takes {READ_ALL}",
                name=identity.name,
                requested=f"read {beyond}",
            )

    def _make(self, scopes: frozenset[str]) -> frozenset[str]:
        """Every name that may be asked for: features, on-demand ones, and views all of whose features may be read."""
        services = self._definitions.services.values()
        readable = {one for service in services if f"read:{service.name}" in scopes for one in service.features}
        readable = set(self._expanded(readable))
        whole = {
            view.name
            for view in self._definitions.views.values()
            if readable.issuperset(f"{view.name}:{feature}" for feature in view.feature_names)
        }
        return frozenset(readable | whole)

    def _expanded(self, references: Iterable[str]) -> Iterator[str]:
        for reference in references:
            view = self._definitions.views.get(reference)
            if view is None:
                yield reference
            else:
                yield from (f"{reference}:{feature}" for feature in view.feature_names)


def require_write(identity: Identity, view: str) -> None:
    """Raises `NotAllowed` unless the identity may write values of the view."""
    require(identity, f"write:{view}", WRITE_ALL)


def require(identity: Identity, *scopes: str) -> None:
    """Raises `NotAllowed` unless the identity has one of the scopes."""
    if identity.scopes.isdisjoint(scopes):
        needed = " or ".join(scopes)
        raise NotAllowed(f"{identity.name} lacks the scope {needed}", name=identity.name, requested=needed)


class Guard:
    """Knows who asks. `local` is a reader that only its own machine reaches: everybody there may do everything."""

    def __init__(self, access: AccessSettings, *, local: bool) -> None:
        self._local = local
        self._keys = KeyRing(access.keys) if access.keys and not local else None
        self._tokens = Tokens(access.issuer) if access.issuer and not local else None

    async def identify(self, headers: CIMultiDictProxy[str]) -> Identity:
        """Whose request it is; raises `AccessRefused`."""
        if self._local:
            return LOCAL
        credential = credential_of(headers)
        if credential.startswith(PREFIX):
            if self._keys is not None:
                return self._keys.identify(credential)
            raise BadCredential("this reader takes no keys, only tokens")
        if self._tokens is not None:
            return await self._tokens.identify(credential)
        raise BadCredential("this reader takes no tokens, only keys")

    def check_host(self, host: str) -> None:
        """Raises `Misdirected` if a local reader is asked for under another name than this machine's.

        A page of another site can have its own name lead here (DNS rebinding); what its browser then sends has that
        name as its host, and comes from this machine.
        """
        if self._local and not names_loopback(host):
            raise Misdirected(f"this reader answers its own machine; ask it as {HOSTS}", requested=host)

    async def keep_fresh(self, _: web.Application) -> AsyncIterator[None]:
        """Have the keys before the first request, and those of file and issuer as they change."""
        if self._keys is not None:
            await self._keys.refresh()
        fresh = [asyncio.create_task(one.keep_fresh()) for one in (self._keys, self._tokens) if one is not None]
        yield
        for task in fresh:
            task.cancel()
        await asyncio.gather(*fresh, return_exceptions=True)


GUARD = web.AppKey("GUARD", Guard)


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request that its route's rule allows; refuse another, and log why."""
    try:
        rule = rule_of(request.match_info)
        if rule is not Rule.OPEN:
            request.app[GUARD].check_host(request.host)
            request[IDENTITY] = identity = await request.app[GUARD].identify(request.headers)
            check_route(rule, identity)
        answer = await handler(request)
        if rule is Rule.BY_BODY and CHECKED not in request:
            raise NotAllowed("nothing says who may have this answer")
    except AccessRefused as refusal:
        record(request, refusal)
        answer = detail(refusal.http_status, str(refusal))
        answer.headers.update(refusal.headers)
    return answer


def check_route(rule: Rule, identity: Identity) -> None:
    """Raises `NotAllowed` if the identity is enough to refuse."""
    if rule is Rule.METRICS:
        require(identity, METRICS)
    elif rule is Rule.NOBODY:
        raise NotAllowed("nothing says who may use this route", name=identity.name)


def check_read(request: web.Request, asked: FeatureRequest, rules: ReadRules) -> None:
    """Raises `NotAllowed` unless whoever sent the request may read what it asks for."""
    rules.check(request[IDENTITY], asked)
    request[CHECKED] = True


def check_write(request: web.Request, view: str) -> None:
    """Raises `NotAllowed` unless whoever sent the request may write values of the view; call it before writing any."""
    require_write(request[IDENTITY], view)
    request[CHECKED] = True
