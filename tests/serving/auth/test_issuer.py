"""The keys of the issuer: when they are fetched, which of them count, and what happens while it fails."""

import asyncio
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from serving.auth.tokens import DISCOVERY
from tests.serving.auth.conftest import bearer, refusal, status, told_key


def test_a_key_that_is_told_later_is_fetched_though_not_for_every_token(reader_of_tokens, issuer, monkeypatch):
    assert status(reader_of_tokens, issuer.token()) == 200
    issuer.keys["k3"] = ec.generate_private_key(ec.SECP256R1())
    for _ in range(5):
        assert "key that its issuer does not have" in refusal(reader_of_tokens, issuer.token("k3"))
    assert issuer.asked == [DISCOVERY, "/keys"]

    monkeypatch.setattr("serving.auth.tokens.FETCH_AGAIN_SECONDS", 0.0)

    assert status(reader_of_tokens, issuer.token("k3")) == 200
    assert issuer.asked == [DISCOVERY, "/keys"] * 2


def test_tokens_that_wait_for_the_issuer_at_the_same_time_ask_it_once(reader_of_tokens, issuer, monkeypatch):
    assert status(reader_of_tokens, issuer.token()) == 200
    issuer.keys["k2"] = ec.generate_private_key(ec.SECP256R1())
    monkeypatch.setattr("serving.auth.tokens.FETCH_AGAIN_SECONDS", 0.0)

    async def all_at_once():
        headers = [bearer(issuer.token("k2", sub=f"s{i}")) for i in range(20)]
        return await asyncio.gather(*(reader_of_tokens.exchange("GET", "/features", headers=one) for one in headers))

    assert {code for code, _ in reader_of_tokens.runner.run(all_at_once())} == {200}
    assert issuer.asked == [DISCOVERY, "/keys"] * 2


def test_a_token_of_a_key_that_the_issuer_withdrew_is_forgotten(reader_of_tokens, issuer, monkeypatch):
    token = issuer.token()
    assert status(reader_of_tokens, token) == 200
    issuer.keys = {"k2": ec.generate_private_key(ec.SECP256R1())}
    monkeypatch.setattr("serving.auth.tokens.FETCH_AGAIN_SECONDS", 0.0)

    assert status(reader_of_tokens, issuer.token("k2")) == 200

    assert "key that its issuer does not have" in refusal(reader_of_tokens, token)


def test_while_the_issuer_fails_known_keys_stay_and_others_open_nothing(reader_of_tokens, issuer, monkeypatch):
    assert status(reader_of_tokens, issuer.token(sub="first")) == 200
    monkeypatch.setattr("serving.auth.tokens.FETCH_AGAIN_SECONDS", 0.0)
    issuer.status = 500
    issuer.keys["k2"] = ec.generate_private_key(ec.SECP256R1())

    code, answer = reader_of_tokens.send("GET", "/features", headers=bearer(issuer.token("k2")))

    assert (code, list(answer)) == (503, ["detail"])
    assert status(reader_of_tokens, issuer.token(sub="second")) == 200


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"status": 500}, "answered 500"),
        ({"status": 302}, "answered 302"),
        ({"named": "https://evil.example"}, "it says that it is 'https://evil.example'"),
        ({"jwks_uri": "http://evil.example/keys"}, "which is not HTTPS"),
        ({"jwks_uri": "file:///etc/passwd"}, "which is not HTTPS"),
        ({"jwks_uri": 7}, "Error"),
    ],
)
def test_an_issuer_that_cannot_be_used_opens_nothing(guarded, issuer, broken, said, caplog):
    token = issuer.token()
    for name, value in broken.items():
        setattr(issuer, name, value)
    reader_of_tokens = guarded(issuer=issuer.settings)

    code, answer = reader_of_tokens.send("GET", "/features", headers=bearer(token))

    assert (code, list(answer)) == (503, ["detail"])
    assert issuer.url in caplog.text
    assert said in caplog.text


def test_keys_that_cannot_verify_are_left_aside(guarded, issuer):
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    shared = {"kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}
    encrypts = told_key("encrypts", issuer.keys["k1"]) | {"use": "enc"}
    broken: list[Any] = [{"kty": "RSA", "kid": "b1", "n": "!", "e": "AQAB"}, {"kty": "RSA", "kid": "b2"}, {}, ["no"]]
    broken += [{"kty": "EC", "crv": "P-256", "kid": "b3", "x": "AQAB", "y": "AQAB"}, {"kty": "EC", "crv": []}]
    issuer.keys |= {str(i): one for i, one in enumerate([shared, encrypts, *broken])}
    reader_of_tokens = guarded(issuer=issuer.settings)

    assert status(reader_of_tokens, issuer.token()) == 200
    for token in (
        jwt.encode(claims, "secret" * 8, "HS256", headers={"kid": "shared"}),
        jwt.encode(claims, issuer.keys["k1"], "RS256", headers={"kid": "encrypts"}),
    ):
        assert "key that its issuer does not have" in refusal(reader_of_tokens, token)


def test_an_issuer_that_answers_without_end_is_not_listened_to(guarded, issuer, caplog):
    issuer.keys["k2"] = {"kty": "x" * 2**20}

    assert guarded(issuer=issuer.settings).send("GET", "/features", headers=bearer(issuer.token()))[0] == 503
    assert "answered more than 1048576 bytes" in caplog.text


def test_keys_are_fetched_where_the_settings_say(guarded, issuer):
    reader_of_tokens = guarded(issuer=replace(issuer.settings, jwks=f"{issuer.url}/keys"))

    assert status(reader_of_tokens, issuer.token()) == 200
    assert issuer.asked == ["/keys"]


def test_a_short_key_of_the_issuer_verifies_nothing(guarded, issuer, recwarn):
    issuer.keys["k1"] = rsa.generate_private_key(65537, 1024)

    assert "not valid" in refusal(guarded(issuer=issuer.settings), issuer.token())
