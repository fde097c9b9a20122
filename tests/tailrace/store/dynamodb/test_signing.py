"""Signatures equal those of botocore, which AWS itself maintains."""

from datetime import UTC, datetime
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from tailrace.store.dynamodb.connections import Credentials, Signer

BODY = b'{"TableName":"tailrace","Key":{"pk":{"S":"document|2:d1"}}}'
MOMENTS = [
    datetime(2026, 3, 1, 9, 15, 1, tzinfo=UTC),
    datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC),
    datetime(2026, 3, 2, 0, 0, 0, tzinfo=UTC),
    datetime(1999, 12, 31, 12, 0, 0, tzinfo=UTC),
]
TOKENS = [None, "a/token+with=signs"]
URLS = ["https://dynamodb.us-east-1.amazonaws.com", "http://127.0.0.1:8000", "http://store.example:4566"]


def signed_by_botocore(url, operation, body, *, region, credentials, moment):
    headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    request = AWSRequest(method="POST", url=url, data=body, headers=headers)
    keys = BotocoreCredentials(credentials.access_key, credentials.secret_key, credentials.token)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment.replace(tzinfo=None)):
        SigV4Auth(keys, "dynamodb", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def signer_for(url, *, region):
    return Signer(host=url.partition("://")[2], region=region)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_headers_equal_botocores(url, token, moment):
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    signer = signer_for(url, region="eu-central-1")

    headers = signer.headers("GetItem", BODY, credentials, now=moment.timestamp())

    expected = signed_by_botocore(url, "GetItem", BODY, region="eu-central-1", credentials=credentials, moment=moment)
    actual = {name.lower(): value for name, value in headers.items()}
    assert actual.pop("content-type") == "application/x-amz-json-1.0"
    assert actual == expected


def test_a_signer_that_lives_past_midnight_signs_with_the_new_days_key():
    credentials = Credentials("key", "secret")
    signer = signer_for(URLS[0], region="us-east-1")

    for moment in (*MOMENTS, MOMENTS[0]):
        headers = signer.headers("Scan", b"{}", credentials, now=moment.timestamp())

        expected = signed_by_botocore(
            URLS[0], "Scan", b"{}", region="us-east-1", credentials=credentials, moment=moment
        )
        assert headers["Authorization"] == expected["authorization"]


def test_operation_body_and_secret_all_change_the_signature():
    one, other = Credentials("key", "secret"), Credentials("key", "other")
    signer, now = signer_for(URLS[0], region="us-east-1"), MOMENTS[0].timestamp()

    signatures = {
        signer.headers("Scan", b"{}", one, now=now)["Authorization"],
        signer.headers("Query", b"{}", one, now=now)["Authorization"],
        signer.headers("Scan", b"{ }", one, now=now)["Authorization"],
        signer.headers("Scan", b"{}", other, now=now)["Authorization"],
    }

    assert len(signatures) == 4


def test_the_present_is_signed_unless_a_time_is_given():
    before = datetime.now(UTC).replace(microsecond=0)
    headers = signer_for(URLS[0], region="us-east-1").headers("Scan", b"{}", Credentials("key", "secret"))

    signed_at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert before <= signed_at <= datetime.now(UTC)
