"""Tokens of a real issuer: what is taken, and what is refused."""

import base64
import hashlib
import hmac
import json
import time
from datetime import datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from serving.auth import tokens
from serving.auth.tokens import Tokens, scopes_of
from tests.serving.auth.conftest import bearer, refusal, status

ASKED = {"feature_service": "ranker", "entities": {"document_id": ["d1"], "actor_id": ["a1"]}}


class Later(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(seconds=700)


def part(told):
    return base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=").decode()


def test_a_token_opens_what_its_scopes_name(reader_of_tokens, issuer):
    token = issuer.token(scope="openid read:ranker", aud=["other", "tailrace"])

    assert status(reader_of_tokens, token) == 200
    assert reader_of_tokens.send("POST", "/get-online-features", json=ASKED, headers=bearer(token))[0] == 200


def test_a_token_without_scopes_opens_no_service(reader_of_tokens, issuer):
    token = issuer.token(scope=None)

    code, answer = reader_of_tokens.send("POST", "/get-online-features", json=ASKED, headers=bearer(token))

    assert (code, answer["detail"]) == (403, "token:ada lacks the scope read:ranker or read:*")


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": None}, "iss"),
        ({"aud": "other"}, "Audience"),
        ({"aud": None}, "aud"),
        ({"aud": []}, "aud"),
        ({"exp": 1_700_000_000}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"exp": float("inf")}, "token is not valid"),
        ({"nbf": 4_000_000_000}, "not yet valid"),
        ({"iat": 4_000_000_000}, "not yet valid"),
        ({"sub": None}, "sub"),
    ],
)
def test_a_token_with_a_claim_that_is_wrong_is_refused(reader_of_tokens, issuer, claims, said):
    assert said in refusal(reader_of_tokens, issuer.token(**claims))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_a_token_without_a_signature_is_refused(reader_of_tokens, issuer, algorithm):
    _, claims, _ = issuer.token().split(".")

    for signature in ("", "AAAA"):
        token = f"{part({'alg': algorithm, 'kid': 'k1', 'typ': 'JWT'})}.{claims}.{signature}"
        assert "not valid" in refusal(reader_of_tokens, token)


@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(reader_of_tokens, issuer, rsa_key, form):
    secret = rsa_key.public_key().public_bytes(form, PublicFormat.SubjectPublicKeyInfo)
    _, claims, _ = issuer.token().split(".")
    signed = f"{part({'alg': 'HS256', 'kid': 'k1', 'typ': 'JWT'})}.{claims}"
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).rstrip(b"=").decode()

    assert "alg" in refusal(reader_of_tokens, f"{signed}.{signature}")


def test_a_token_signed_by_another_key_of_that_name_is_refused(reader_of_tokens, issuer):
    other = rsa.generate_private_key(65537, 2048)
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})

    assert "ignature" in refusal(reader_of_tokens, jwt.encode(claims, other, "RS256", headers={"kid": "k1"}))


def test_a_token_whose_claims_were_changed_is_refused(reader_of_tokens, issuer):
    header, claims, signature = issuer.token().split(".")
    told = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"scope": "read:*"}

    assert "ignature" in refusal(reader_of_tokens, f"{header}.{part(told)}.{signature}")


def test_a_key_takes_its_own_algorithm_alone(guarded, issuer):
    issuer.keys["k2"] = ec.generate_private_key(ec.SECP256R1())
    reader_of_tokens = guarded(issuer=issuer.settings)
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})

    assert status(reader_of_tokens, issuer.token("k2")) == 200
    wrong = jwt.encode(claims, issuer.keys["k2"], "ES256", headers={"kid": "k1"})
    assert "alg" in refusal(reader_of_tokens, wrong)


@pytest.mark.parametrize("headers", [{"kid": None}, {"crit": ["exp"], "exp": 1}])
def test_a_token_that_names_no_key_or_asks_for_more_than_is_known_is_refused(reader_of_tokens, issuer, headers):
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    told = {name: value for name, value in ({"kid": "k1"} | headers).items() if value is not None}

    refusal(reader_of_tokens, jwt.encode(claims, issuer.keys["k1"], "RS256", headers=told))


@pytest.mark.parametrize(
    "token",
    [
        "a",
        "a.b",
        "a.b.c",
        "..",
        "e30.e30.",
        f"{part({'alg': 'RS256', 'kid': 7})}.e30.",
        f"{part([1])}.e30.",
        f"{part({'alg': 'RS256', 'kid': 'k1', 'crit': [[]]})}.e30.",
        f"{part({'alg': ['RS256'], 'kid': 'k1'})}.e30.",
        base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=") + ".e30.",
    ],
    ids=range(10),
)
def test_what_is_no_token_is_refused(reader_of_tokens, token):
    refusal(reader_of_tokens, token)


def test_a_token_is_verified_once(guarded, issuer, monkeypatch):
    verified = []
    decode = tokens.DECODER.decode

    def counted(*given, **named):
        verified.append(given)
        return decode(*given, **named)

    monkeypatch.setattr(tokens.DECODER, "decode", counted)
    reader_of_tokens = guarded(issuer=issuer.settings)
    token = issuer.token()

    assert {status(reader_of_tokens, token) for _ in range(5)} == {200}
    assert len(verified) == 1


def test_a_token_that_is_known_is_refused_once_it_has_expired(reader_of_tokens, issuer, monkeypatch):
    token = issuer.token()
    assert status(reader_of_tokens, token) == 200

    later = time.time() + 700
    monkeypatch.setattr("serving.auth.tokens.time.time", lambda: later)
    monkeypatch.setattr("jwt.api_jwt.datetime", Later)

    assert "expired" in refusal(reader_of_tokens, token)


def test_no_more_tokens_are_kept_than_may_be(guarded, issuer, runner, monkeypatch):
    monkeypatch.setattr("serving.auth.tokens.TOKENS_KEPT", 3)
    known = Tokens(issuer.settings)

    async def identify():
        for i in range(10):
            await known.identify(issuer.token(sub=f"s{i}"))

    runner.run(identify())

    assert [one.identity.name for one in known._known.values()] == ["token:s7", "token:s8", "token:s9"]


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "read:a  metrics"}, {"read:a", "metrics"}),
        ({"scp": "read:a write:b"}, {"read:a", "write:b"}),
        ({"scp": ["read:a", "write:b", 7]}, {"read:a", "write:b"}),
        ({"scope": "read:a", "scp": ["read:b"]}, {"read:a", "read:b"}),
        ({"scope": "read:a\tread:*"}, {"read:a\tread:*"}),
        ({"scope": {"read:*": True}, "scp": 7}, set()),
        ({}, set()),
    ],
)
def test_scopes_come_from_either_claim(claims, scopes):
    assert scopes_of(claims) == scopes
