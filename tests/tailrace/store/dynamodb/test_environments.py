"""Whose table it is: one environment writes a table, and every other home is refused before it writes anything."""

import asyncio

import pytest

from tailrace.settings import read_settings
from tailrace.settings.environment import SettingsError
from tailrace.store.address import Address
from tailrace.store.dynamodb.calls import scan
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.failures import OtherEnvironment
from tailrace.store.lease import take
from tests.tailrace.store.conftest import Store
from tests.tailrace.store.proxy import Proxy


def ready(store, *environments):
    """Open a table for each environment in turn, as whoever writes does."""

    async def go(client):
        for environment in environments:
            await DynamoStore(client, environment=environment).ensure_ready()

    store.run(go)


def items(store):
    async def go(client):
        return [item async for page in scan(client, ()) for item in page]

    return store.run(go)


@pytest.mark.parametrize(
    ("homes", "refused"),
    [
        (("production", "production", "production"), None),
        (("", "", "production", "production"), None),  # a store of before goes on, and is marked
        (("production", "test"), "test"),
        (("production", ""), ""),
        (("", "production", ""), ""),
    ],
)
def test_a_table_is_of_the_environment_that_wrote_it_first(store, homes, refused):
    if refused is None:
        ready(store, *homes)
        return
    ready(store, *homes[:-1])
    before = items(store)

    with pytest.raises(OtherEnvironment) as refusal:
        ready(store, homes[-1])

    assert items(store) == before
    named = [store.table, "'production'", "TAILRACE_ENVIRONMENT=production", "TAILRACE_STORE_TABLE", repr(refused)]
    assert all(name in str(refusal.value) for name in named if name != "''")


def test_a_push_is_refused_before_it_writes_anything(store):
    ready(store, "production")
    before = items(store)
    of_test = Address(
        url=store.url,
        region="us-east-1",
        table=store.table,
        in_flight=1,
        writes="updates",
        lease_seconds=5,
        environment="test",
    )

    with pytest.raises(OtherEnvironment):
        take(of_test, "visits", 5)

    assert items(store) == before


def test_of_many_that_mark_a_table_at_once_one_does(running):
    table = Store(running.url, "marked-at-once")

    async def at_once(client):
        opened = [DynamoStore(client, environment=name) for name in "abcd"]
        found = await asyncio.gather(*(one.ensure_ready() for one in opened), return_exceptions=True)
        return [type(one) for one in found]

    assert sorted(table.run(at_once), key=str) == sorted([OtherEnvironment] * 3 + [type(None)], key=str)
    assert table.run(lambda client: DynamoStore(client).has_items()) is False


def test_a_home_of_no_environment_sends_one_request_as_before(store):
    async def go(environment):
        async with Proxy(store.url, None) as proxy, store.open(proxy.url) as client:
            await DynamoStore(client, environment=environment).ensure_ready()
            return dict(proxy.counts)

    assert asyncio.run(go("")) == {"GetItem": 1}
    assert asyncio.run(go("production")) == {"GetItem": 1, "PutItem": 1}
    assert asyncio.run(go("production")) == {"GetItem": 1}


def test_an_environment_is_a_plain_name():
    assert Address.at("http://x", read_settings({"TAILRACE_ENVIRONMENT": "prod-eu.1"})).environment == "prod-eu.1"
    assert read_settings({}).store.environment == ""
    with pytest.raises(SettingsError, match="TAILRACE_ENVIRONMENT"):
        read_settings({"TAILRACE_ENVIRONMENT": "two words"})
