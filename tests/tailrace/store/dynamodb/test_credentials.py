"""Credentials that expire while requests are signed with them, and clocks that are wrong."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.resources import files

import boto3
import pytest
from aiohttp import web

from tailrace.store.dynamodb import connections
from tailrace.store.dynamodb.connections import FromAws, credentials_for
from tailrace.store.failures import StoreError
from tests.tailrace.store.proxy import Proxy

# A role's credentials as a process tells them: other ones whenever it is asked.
PROCESS = """
import json, pathlib, datetime
count = pathlib.Path(__file__).with_suffix(".count")
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds={lifetime})
print(json.dumps({{"Version": 1, "AccessKeyId": f"key{{number}}", "SecretAccessKey": "secret",
    "SessionToken": f"token{{number}}", "Expiration": ends.isoformat()}}))
"""


@pytest.fixture
def role(tmp_path, monkeypatch):
    """Credentials of a role that last so many seconds."""

    def take(lifetime):
        process = tmp_path / "role.py"
        process.write_text(PROCESS.format(lifetime=lifetime))
        (tmp_path / "config").write_text(f"[default]\ncredential_process = {sys.executable} {process}\n")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        found = boto3.Session().get_credentials()
        assert found is not None
        return FromAws(found)

    return take


async def seen_by(store, source, misbehave):
    """The answer of one call through a proxy, and the headers of each request of it."""
    headers = []

    async def note(request, operation, body):
        headers.append({name.lower(): value for name, value in request.headers.items()})
        return misbehave(headers)

    async with Proxy(store.url, note) as proxy, store.open(proxy.url) as client:
        if source is not None:
            client._credentials = source
        try:
            return await client.call("DescribeTable", {"TableName": store.table}), headers
        except StoreError as error:
            return error, headers


def refusal(code, **headers):
    return web.Response(status=400, text=json.dumps({"__type": code, "message": "no"}), headers=headers)


def test_credentials_that_expire_soon_are_renewed_beside_the_requests(role, monkeypatch):
    source = role(lifetime=60)  # less than a quarter of an hour: due at once
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.0)

    async def go():
        first = source.current()
        for _ in range(200):
            if source.current() != first:
                return first, source.current()
            await asyncio.sleep(0.05)
        raise AssertionError("never renewed")

    first, second = asyncio.run(go())

    assert first.token != second.token
    assert second.token == second.access_key.replace("key", "token")


def test_credentials_that_last_are_left_alone(role, monkeypatch):
    source = role(lifetime=3600)
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.0)

    async def go():
        return [(source.current().token, await source.renew()) for _ in range(3)]

    assert asyncio.run(go()) == [("token1", False)] * 3


def test_what_the_store_calls_expired_is_renewed_and_tried_again(store, role):
    source = role(lifetime=60)
    token = source.current().token

    def refuse_the_first(headers):
        return refusal("ExpiredTokenException") if headers[-1]["x-amz-security-token"] == token else None

    answer, headers = asyncio.run(seen_by(store, source, refuse_the_first))

    assert answer["Table"]["TableName"] == store.table
    assert len(headers) == 2
    assert headers[1]["x-amz-security-token"] != token


def test_credentials_that_stay_refused_are_an_error_at_once(store):
    error, headers = asyncio.run(seen_by(store, None, lambda _: refusal("ExpiredTokenException")))

    assert (error.code, len(headers)) == ("ExpiredTokenException", 1)


def test_credentials_that_cannot_be_renewed_are_kept_and_the_reason_is_logged(role, tmp_path, caplog):
    source = role(lifetime=60)
    before = source.current()
    (tmp_path / "role.py").write_text("raise SystemExit('no role today')")

    assert asyncio.run(source.renew()) is False

    assert source.current() == before
    assert "AWS credentials could not be renewed, CredentialRetrievalError" in caplog.text


def test_a_wrong_clock_is_set_by_the_stores_and_the_request_signed_anew(store):
    ahead = timedelta(hours=3)

    def refuse_what_is_late(headers):
        now = datetime.now(UTC) + ahead
        signed = datetime.strptime(headers[-1]["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(now - signed) > timedelta(minutes=5):
            return refusal("InvalidSignatureException", Date=format_datetime(now, usegmt=True))
        return None

    answer, headers = asyncio.run(seen_by(store, None, refuse_what_is_late))

    assert answer["Table"]["TableName"] == store.table
    assert len(headers) == 2


@pytest.mark.parametrize("date", ["", "yesterday", "now"])
def test_a_bad_signature_by_a_right_clock_is_an_error_at_once(store, date):
    told = format_datetime(datetime.now(UTC), usegmt=True) if date == "now" else date
    error, headers = asyncio.run(seen_by(store, None, lambda _: refusal("InvalidSignatureException", Date=told)))

    assert (error.code, len(headers)) == ("InvalidSignatureException", 1)


# The DNS suffixes of every partition of AWS, as botocore has them.
PARTITIONS = json.loads(files("botocore").joinpath("data/partitions.json").read_text())["partitions"]
SUFFIXES = sorted({one["outputs"][kind] for one in PARTITIONS for kind in ("dnsSuffix", "dualStackDnsSuffix")})


@pytest.mark.parametrize(
    "host",
    [
        "dynamodb.eu-central-1.api.aws",
        "dynamodb-fips.us-east-1.api.aws",
        "123456789012.ddb.us-east-1.amazonaws.com",
        "vpce-0a1b.dynamodb.us-east-1.vpce.amazonaws.com",
        *(f"dynamodb.region.{suffix}" for suffix in SUFFIXES),
    ],
)
def test_hosts_of_aws_are_signed_for_with_the_credentials_of_its_chain(role, host):
    role(3600)

    assert credentials_for(f"https://{host}").current().access_key.startswith("key")


def test_a_name_that_only_looks_like_aws_takes_a_stand_in(role):
    role(3600)

    assert credentials_for("http://api.aws.example:8000").current().access_key == "tailrace"
