"""Tokens of an issuer: its keys are fetched, signatures and claims checked."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
import orjson

from serving.auth.identity import BadCredential, Identity, UncheckedCredential
from serving.common.loop import keep_doing
from serving.common.messages import one_line
from tailrace.errors import UnavailableError
from tailrace.settings import IssuerSettings
from tailrace.settings.places import comes_unchanged, is_loopback

DISCOVERY = "/.well-known/openid-configuration"
FETCH_AGAIN_SECONDS = 30.0  # at the soonest: tokens that name unknown keys are cheap to make
KEEP_SECONDS = 600.0  # a key that the issuer withdrew counts for no longer
TIMEOUT = aiohttp.ClientTimeout(total=5)
ANSWER_BYTES = 2**20

RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ALGORITHMS = {("EC", "P-256"): ("ES256",), ("EC", "P-384"): ("ES384",), ("EC", "P-521"): ("ES512",)}
ALGORITHMS |= {("OKP", "Ed25519"): ("EdDSA",)}

log = logging.getLogger(__name__)

TOKENS_KEPT = 10_000
LEEWAY_SECONDS = 10  # that the clocks of issuer and reader may differ
NAME_LENGTH = 120

DECODER = jwt.PyJWT({"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True})


class IssuerError(UnavailableError):
    """The issuer's answer cannot be used."""


@dataclass(frozen=True, kw_only=True)
class IssuerKey:
    """A public key and the algorithms that it may be used with; none of them takes a shared secret."""

    public: Any
    algorithms: tuple[str, ...]


class IssuerKeys:
    """The issuer's keys by their id; `version` changes with them. While it cannot be asked, those fetched last stay."""

    def __init__(self, settings: IssuerSettings) -> None:
        self.version = 0
        self._settings = settings
        self._keys: dict[str, IssuerKey] = {}
        self._described: Any = None
        self._failure = "it has not been asked yet"
        self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> IssuerKey:
        """Raises `BadCredential` for an id that the issuer does not have, `UncheckedCredential` while it cannot be asked."""
        if kid not in self._keys and self._may_be_asked():
            await self.refresh()
        if kid in self._keys:
            return self._keys[kid]
        if self._failure:
            raise UncheckedCredential("the token cannot be checked now: its issuer does not return its keys")
        raise BadCredential("the token names a key that its issuer does not have")

    async def keep_fresh(self) -> None:
        """Fetch the keys again and again, until cancelled."""
        await self.refresh()
        await keep_doing("asking the issuer for its keys", self.refresh, pause=self._pause, log=log)

    def _pause(self) -> float:
        return FETCH_AGAIN_SECONDS if self._failure else KEEP_SECONDS

    async def refresh(self) -> None:
        """Fetch the keys, once for all who want it at the same time; where that fails, say so in the log."""
        if self._fetching is None or self._fetching.done():
            self._tried = asyncio.get_running_loop().time()
            self._fetching = asyncio.create_task(self._fetch())
        await asyncio.shield(self._fetching)  # whoever waits may be cancelled; the others still wait

    def _may_be_asked(self) -> bool:
        if self._fetching is not None and not self._fetching.done():
            return True
        return asyncio.get_running_loop().time() - self._tried >= FETCH_AGAIN_SECONDS

    async def _fetch(self) -> None:
        before, self._failure = self._failure, ""
        try:
            described = (await fetched(await self._address()))["keys"]
            if described != self._described:
                self._keys = dict(verifying_keys(described))
                self._described = described
                self.version += 1
        except Exception as error:  # noqa: BLE001 - whatever the issuer answers, the keys fetched last stay
            self._failure = one_line(error)
        if self._failure and self._failure != before:
            log.warning("issuer %s: %s; the %d keys stay", self._settings.url, self._failure, len(self._keys))

    async def _address(self) -> str:
        """Where the keys are; what the issuer says itself has to be about itself, and to come over HTTPS."""
        if self._settings.jwks is not None:
            return self._settings.jwks
        described = await fetched(self._settings.url.rstrip("/") + DISCOVERY)
        if described["issuer"] != self._settings.url:
            raise IssuerError(
                f"it says that it is {described['issuer']!r}; set TAILRACE_READER_ISSUER to that, or JWKS"
            )
        if not comes_unchanged(described["jwks_uri"]):
            raise IssuerError(f"its keys are at {described['jwks_uri']!r}, which is not HTTPS")
        return str(described["jwks_uri"])


async def fetched(url: str) -> Any:
    """The JSON at an address, which may not lead elsewhere."""
    proxied = not is_loopback(urlsplit(url).hostname or "")
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT, trust_env=proxied) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        if answer.status != 200:
            raise IssuerError(f"{url} answered {answer.status}")
        body = b""
        async for part in answer.content.iter_chunked(2**16):
            body += part
            if len(body) > ANSWER_BYTES:
                raise IssuerError(f"{url} answered more than {ANSWER_BYTES} bytes")
    return orjson.loads(body)


def verifying_keys(described: Iterable[Any]) -> Iterator[tuple[str, IssuerKey]]:
    """Those of a JSON Web Key Set that verify signatures and have an id; one that is broken spoils no other."""
    for one in described:
        try:
            algorithms = algorithms_of(one)
            if algorithms and isinstance(one.get("kid"), str):
                yield one["kid"], IssuerKey(public=jwt.PyJWK(one, algorithms[0]).key, algorithms=algorithms)
        except Exception as error:  # noqa: BLE001 - one key that is broken spoils no other
            log.warning("a key of the issuer cannot be used: %s", one_line(error))


def algorithms_of(described: Any) -> tuple[str, ...]:
    """The algorithms that a key may be used with, by its kind and its own `alg`."""
    if described.get("use", "sig") != "sig":
        return ()
    known = RSA if described.get("kty") == "RSA" else ALGORITHMS.get((described.get("kty"), described.get("crv")), ())
    return tuple(one for one in known if described.get("alg", one) == one)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """Whose token it is, until when (seconds since 1970), and by which version of the issuer's keys."""

    identity: Identity
    until: float
    version: int


class Tokens:
    """Tells whose a token is; those verified last are kept, by their hashes."""

    def __init__(self, settings: IssuerSettings) -> None:
        self._settings = settings
        self._issuer = IssuerKeys(settings)
        self._known: dict[bytes, Verified] = {}

    async def keep_fresh(self) -> None:
        """Keep the issuer's keys fresh, until cancelled."""
        await self._issuer.keep_fresh()

    async def identify(self, token: str) -> Identity:
        """Raises `BadCredential`, and `UncheckedCredential` while the issuer's key for it cannot be had."""
        digest = hashlib.sha256(token.encode()).digest()
        verified = self._known.get(digest)
        if verified is None or verified.version != self._issuer.version or verified.until <= time.time():
            verified = await self._verify(token)
            self._keep(digest, verified)
        return verified.identity

    async def _verify(self, token: str) -> Verified:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            if not isinstance(kid, str):
                raise BadCredential("the token does not name its key (kid)")
            key = await self._issuer.key(kid)
            claims = DECODER.decode(
                token,
                key.public,
                algorithms=key.algorithms,
                audience=self._settings.audience,
                issuer=self._settings.url,
                leeway=LEEWAY_SECONDS,
            )
        except jwt.PyJWTError as error:
            raise BadCredential(f"the token is not valid: {error}") from error
        name = claims["sub"][:NAME_LENGTH].encode(errors="replace").decode()  # JSON may hold what no text in UTF-8 can
        identity = Identity(name=f"token:{name}", scopes=scopes_of(claims))
        return Verified(identity=identity, until=int(claims["exp"]) + LEEWAY_SECONDS, version=self._issuer.version)

    def _keep(self, digest: bytes, verified: Verified) -> None:
        """Keep one more; where there are too many the one that was kept first goes."""
        self._known.pop(digest, None)
        if len(self._known) >= TOKENS_KEPT:
            del self._known[next(iter(self._known))]
        self._known[digest] = verified


def scopes_of(claims: dict[str, Any]) -> frozenset[str]:
    """`scope` is a text with spaces (RFC 8693, section 4.2), and `scp` one or a list; whatever else says nothing."""
    scopes: set[str] = set()
    for claimed in (claims.get("scope"), claims.get("scp")):
        if isinstance(claimed, str):
            scopes.update(claimed.split(" "))
        elif isinstance(claimed, list):
            scopes.update(one for one in claimed if isinstance(one, str))
    return frozenset(scopes - {""})
