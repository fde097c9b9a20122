"""The line in the log for whoever is turned away."""

import json
import logging
from datetime import UTC, datetime

import pytest

from tests.serving.auth.conftest import bearer


@pytest.fixture
def audited(caplog):
    caplog.set_level(logging.INFO, "serving.audit")
    return lambda: [json.loads(one.getMessage()) for one in caplog.records if one.name == "serving.audit"]


def test_everybody_who_is_turned_away_leaves_a_line(reader_of_keys, key, audited):
    asked = {"features": ["actor_activity", "nowhere"], "entities": {"actor_id": ["secret-id"]}}
    before = datetime.now(UTC).isoformat(timespec="milliseconds")

    reader_of_keys.send("GET", "/features?key=hidden")
    reader_of_keys.send("GET", "/features", headers=bearer("trk_0_hidden"))
    reader_of_keys.send("POST", "/get-online-features", json=asked, headers=bearer(key))
    reader_of_keys.send("GET", "/health")

    unknown, wrong, lacking = audited()
    assert list(unknown) == ["time", "remote", "identity", "method", "path", "status", "wanted", "why"]
    assert before <= unknown.pop("time") <= datetime.now(UTC).isoformat(timespec="milliseconds")
    assert unknown == {
        "remote": "127.0.0.1",
        "identity": "unknown",
        "method": "GET",
        "path": "/features",
        "status": 401,
        "wanted": "",
        "why": "nobody is named; send `Authorization: Bearer …` with a key or a token",
    }
    assert (wrong["status"], wrong["identity"], wrong["why"]) == (401, "unknown", "the key is not known")
    assert (lacking["status"], lacking["identity"], lacking["path"]) == (403, "key:ranker", "/get-online-features")
    assert lacking["wanted"] == "read nowhere"
    assert not [word for word in ("hidden", key, "secret-id") if word in json.dumps(audited())]


def test_a_line_stays_one_line_and_short_whatever_was_sent(reader_of_keys, key, audited, caplog):
    odd = 'x"\n{"identity": "root"}' + "\u2028" * 1000
    asked = {"features": [odd], "entities": {"actor_id": ["a1"]}}

    status, _ = reader_of_keys.send("POST", "/get-online-features", json=asked, headers=bearer(key))

    [line] = audited()
    assert (status, line["status"]) == (403, 403)
    assert line["wanted"] == f"read {odd}"[:200]
    assert caplog.records[-1].getMessage().isascii()
    assert "\n" not in caplog.records[-1].getMessage()


def test_a_name_that_no_text_can_hold_is_refused_like_any_other(guarded, issuer, audited):
    reader_of_keys = guarded(issuer=issuer.settings)
    token = issuer.token(sub="a\ud800b", scope="")
    asked = {"feature_service": "ranker", "entities": {"actor_id": ["a1"]}}

    status, answer = reader_of_keys.send("POST", "/get-online-features", json=asked, headers=bearer(token))

    assert (status, answer["detail"]) == (403, "token:a?b lacks the scope read:ranker or read:*")
    assert [line["identity"] for line in audited()] == ["token:a?b"]
