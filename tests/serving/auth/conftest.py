"""An issuer of tokens on loopback, a file of keys, and readers that answer those whom they know."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from serving.auth.api_keys import add_key
from tailrace.settings import AccessSettings, IssuerSettings

AUDIENCE = "tailrace"
NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
JSON = "application/json"


@dataclass
class Issuer:
    """Signs tokens and tells its public keys over HTTP; `keys` may change, and `asked` lists the paths asked for."""

    keys: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: int = 200
    named: str | None = None
    jwks_uri: str | None = None
    url: str = ""

    async def discovery(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        told = {"issuer": self.named or self.url, "jwks_uri": self.jwks_uri or f"{self.url}/keys"}
        return web.json_response(told, status=self.status)

    async def jwks(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.json_response({"keys": [told_key(kid, key) for kid, key in self.keys.items()]}, status=self.status)

    def token(self, kid: str = "k1", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is valid, but for the claims given; None leaves a claim out."""
        valid = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 600, "scope": "read:ranker"}
        told = {name: value for name, value in (valid | claims).items() if value is not None}
        key = self.keys[kid]
        algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        return jwt.encode(told, key, algorithm, headers={"kid": kid} | (headers or {}))

    @property
    def settings(self) -> IssuerSettings:
        return IssuerSettings(url=self.url, audience=AUDIENCE, jwks=None)


def told_key(kid: str, key: Any) -> Any:
    if isinstance(key, (dict, list)):
        return key
    kind = jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else jwt.algorithms.RSAAlgorithm
    return dict(json.loads(kind.to_jwk(key.public_key()))) | {"kid": kid, "use": "sig"}


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def issuer(runner: asyncio.Runner, rsa_key: rsa.RSAPrivateKey) -> Iterator[Issuer]:
    issuer = Issuer(keys={"k1": rsa_key})
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", issuer.discovery)
    app.router.add_get("/keys", issuer.jwks)
    server = TestServer(app)
    runner.run(server.start_server())
    issuer.url = f"http://127.0.0.1:{server.port}"
    yield issuer
    runner.run(server.close())


@dataclass(frozen=True)
class Keys:
    """A file of keys."""

    path: Path

    def add(self, name: str, *scopes: str, expires: datetime | None = None) -> str:
        return add_key(self.path, name, scopes=scopes, created=NINE, expires=expires)[0]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys.json")


@pytest.fixture
def guarded(store, start_reader, definitions) -> Callable[..., Any]:
    """Start a reader that answers those who hold a key of the file, or a token of the issuer."""

    def start(*, keys: Keys | None = None, issuer: IssuerSettings | None = None, defined: Any = definitions) -> Any:
        access = AccessSettings(keys=keys.path if keys else None, issuer=issuer)
        return start_reader(defined, local=False, access=access)

    return start


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


@pytest.fixture
def key(keys: Keys) -> str:
    return keys.add("ranker", "read:ranker")


@pytest.fixture
def reader_of_keys(guarded, keys, key):
    """A reader that answers the holder of the key."""
    return guarded(keys=keys)


@pytest.fixture
def reader_of_tokens(guarded, issuer):
    """A reader that answers those who hold a token of the issuer."""
    return guarded(issuer=issuer.settings)


def refusal(reader: Any, credential: str) -> str:
    """Why a credential is refused, which it must be."""
    status, answer = reader.send("GET", "/features", headers=bearer(credential))
    assert (status, list(answer)) == (401, ["detail"])
    return str(answer["detail"])


def status(reader: Any, credential: str) -> int:
    return int(reader.send("GET", "/features", headers=bearer(credential))[0])
