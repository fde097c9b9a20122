"""Access control of the reader: the rule of its route admits or refuses every request."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web
from multidict import CIMultiDictProxy

from serving.auth import audit
from serving.auth.identity import LOCAL, BadCredential, Identity, Misdirected, NotAllowed, Refused, credential_of
from serving.auth.keys import PREFIX, KeyRing
from serving.auth.routes import Rule, rule_of
from serving.auth.scopes import METRICS, ReadRules, require, require_write
from serving.auth.tokens import Tokens
from serving.common.request import FeatureRequest
from serving.http.errors import Handler, detail
from tailrace.settings import AccessSettings
from tailrace.settings.loopback import names_loopback

HOSTS = "localhost, 127.0.0.1 or [::1]"
IDENTITY = web.RequestKey("IDENTITY", Identity)
CHECKED = web.RequestKey("CHECKED", bool)


class Guard:
    """Knows who asks. `local` is a reader that only its own machine reaches: everybody there may do everything."""

    def __init__(self, access: AccessSettings, *, local: bool) -> None:
        self._local = local
        self._keys = KeyRing(access.keys) if access.keys and not local else None
        self._tokens = Tokens(access.issuer) if access.issuer and not local else None

    async def identify(self, headers: CIMultiDictProxy[str]) -> Identity:
        """Whose request it is; raises `Refused`."""
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
        """Raises `Misdirected` where a local reader is asked for under another name than this machine's.

        A page of another site can have its own name lead here (DNS rebinding); what its browser then sends has that
        name as its host, and comes from this machine.
        """
        if self._local and not names_loopback(host):
            raise Misdirected(f"this reader answers its own machine; ask it as {HOSTS}", wanted=host)

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
    except Refused as refusal:
        audit.record(request, refusal)
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
