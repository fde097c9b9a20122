"""JWT bearer tokens of the issuer: verified once, and then known until they expire."""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import jwt

from serving.auth.identity import BadCredential, Identity
from serving.auth.issuer import IssuerKeys
from tailrace.settings import IssuerSettings

TOKENS_KEPT = 10_000
LEEWAY_SECONDS = 10  # that the clocks of issuer and reader may differ
NAME_LENGTH = 120

DECODER = jwt.PyJWT({"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True})


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
        """Raises `BadCredential`, and `CannotTell` while the issuer's key for it cannot be had."""
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
