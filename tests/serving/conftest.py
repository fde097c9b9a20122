"""A real store with a table per test, values in it, and a real reader over HTTP."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from serving.app import make_app
from serving.read import controls
from serving.telemetry.metrics import Counters, SharedMetrics
from serving.telemetry.requests import Tracing
from tailrace.definitions import Definitions, Feature, FeatureView, load_definitions
from tailrace.schemas.slots import to_micros
from tailrace.schemas.tables import Type
from tailrace.settings import Settings, read_settings
from tailrace.store import embedded
from tailrace.store.codec import Codec, ColumnValues
from tailrace.store.control import Cursor
from tailrace.store.direct.log import Log
from tailrace.store.dynamodb.calls import CONTROL_PREFIX, KEY, StoreClient, open_client, to_binary
from tailrace.store.dynamodb.store import DynamoStore, ensure_table
from tailrace.store.keys import item_keys
from tests.conftest import PATIENT_MS
from tests.tailrace.store.proxy import Misbehaviour, Proxy

DTYPES = {Type.INT64: "i8", Type.FLOAT64: "f8", Type.BOOL: "?", Type.TIMESTAMP: "M8[us]", Type.STRING: "O"}
TABLE_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Store:
    """Writes as a publisher does, without its care."""

    settings: Settings
    runner: asyncio.Runner
    client: StoreClient

    def put(
        self,
        view: FeatureView,
        ids: Mapping[str, str],
        row: Mapping[str, Any],
        *,
        as_of: datetime,
        features: tuple[Feature, ...] = (),
    ) -> None:
        """Write one value, under the view's own schema or another; features that the row does not name are null."""
        features = features or view.features
        values = [row.get(feature.name) for feature in features]
        columns = [
            ColumnValues(np.array([0 if value is None else value], DTYPES[feature.type]), np.array([value is not None]))
            for feature, value in zip(features, values, strict=True)
        ]
        self.put_raw(view, ids, Codec(view.name, features).encode(columns, as_of=to_micros(as_of))[0])

    def put_raw(self, view: FeatureView, ids: Mapping[str, str], value: bytes) -> None:
        self.put_attribute(view, ids, to_binary(value))

    def put_attribute(self, view: FeatureView, ids: Mapping[str, str], attribute: dict[str, Any]) -> None:
        entities = {entity.name: entity.key for entity in view.entities}
        [key] = item_keys(entities, {name: [one] for name, one in ids.items()})
        request = {"TableName": self.client.table, "Key": {KEY: {"S": key}}}
        request |= {"UpdateExpression": "SET #view = :value", "ExpressionAttributeNames": {"#view": view.name}}
        request |= {"ExpressionAttributeValues": {":value": attribute}}
        self.runner.run(self.client.call("UpdateItem", request))

    def push(self, view: FeatureView, *, watermark: datetime, features: tuple[Feature, ...] = ()) -> None:
        """Close a push of the view, under its own schema or another."""
        features = features or view.features
        cursor = Cursor(table_id="t1", version=3, fingerprint=Codec(view.name, features).fingerprint)

        async def close() -> None:
            control = await DynamoStore(self.client).take_lease(view.name, owner="test", seconds=1)
            assert control is not None
            await DynamoStore(self.client).close_push(
                view.name,
                sequence=control.sequence,
                cursor=cursor,
                watermark=to_micros(watermark),
                features=features,
            )

        self.runner.run(close())


@dataclass(frozen=True)
class Http:
    """Asks a reader; answers are status and JSON."""

    runner: asyncio.Runner
    client: TestClient[Any, Any]

    def send(self, method: str, path: str, **request: Any) -> tuple[int, Any]:
        return self.runner.run(self.exchange(method, path, **request))

    async def exchange(self, method: str, path: str, **request: Any) -> tuple[int, Any]:
        async with self.client.request(method, path, **request) as response:
            return response.status, await response.json()

    def get(self, path: str) -> tuple[int, Any]:
        return self.send("GET", path)

    def ask(self, **body: Any) -> dict[str, Any]:
        """The answer to a request that must succeed."""
        status, answer = self.send("POST", "/get-online-features", json=body)
        assert status == 200, answer
        return dict(answer)

    def statuses(self, **request: Any) -> list[str]:
        """The statuses of the last feature, in an answer to a request that must succeed."""
        status, answer = self.send("POST", "/get-online-features", **request)
        assert status == 200, answer
        last = answer["results"][-1]
        nulls = [value is None for value in last["values"]]
        assert nulls == [one != "PRESENT" for one in last["statuses"]]
        return list(last["statuses"])

    def refusal(self, **body: Any) -> str:
        """Why a request is refused, which it must be."""
        status, answer = self.send("POST", "/get-online-features", json=body)
        assert (status, list(answer)) == (400, ["detail"])
        return str(answer["detail"])

    def cells(self, feature: str, **body: Any) -> list[tuple[Any, str, str]]:
        """Value, status and time of each row of one feature."""
        answer = self.ask(features=[feature], **body)
        last = answer["results"][-1]
        return list(zip(last["values"], last["statuses"], last["event_timestamps"], strict=True))

    def values(self, feature: str, **body: Any) -> list[tuple[Any, str]]:
        return [(value, status) for value, status, _ in self.cells(feature, **body)]


@pytest.fixture(scope="session")
def store_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = str(tmp_path_factory.mktemp("home"))
    settings = read_settings({"TAILRACE_HOME": home, "TAILRACE_READER_BUDGET_MS": PATIENT_MS})
    embedded.start(settings)
    yield settings
    embedded.stop(settings)


@pytest.fixture
def settings(store_settings: Settings) -> Settings:
    table = f"table-{next(TABLE_NUMBERS)}"
    return replace(store_settings, store=replace(store_settings.store, table=table))


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@contextmanager
def table_of(settings: Settings, runner: asyncio.Runner) -> Iterator[Store]:
    """The settings' table, which is made."""
    opened = open_client(url=embedded.store_url(settings), region=settings.store.region, table=settings.store.table)
    client = runner.run(opened.__aenter__())
    runner.run(ensure_table(client))
    yield Store(settings, runner, client)
    runner.run(opened.__aexit__(None, None, None))


@pytest.fixture
def store(settings: Settings, runner: asyncio.Runner) -> Iterator[Store]:
    with table_of(settings, runner) as store:
        yield store


@pytest.fixture(scope="module")
def module_store(store_settings: Settings) -> Iterator[Store]:
    """A table for all tests of a module."""
    table = f"table-{next(TABLE_NUMBERS)}"
    settings = replace(store_settings, store=replace(store_settings.store, table=table))
    with asyncio.Runner() as runner, table_of(settings, runner) as store:
        yield store


def direct_log(settings: Settings) -> Log:
    """A log of direct writes, and a landing folder, for this test alone."""
    home = settings.home / settings.store.table
    return Log(folder=home / "direct-log", landing=str(home / "landing"))


@pytest.fixture
def start_reader(settings: Settings, runner: asyncio.Runner) -> Iterator[Callable[..., Http]]:
    """Start a reader over some definitions, at the embedded store or another address."""
    clients: list[TestClient[Any, Any]] = []

    def start(
        definitions: Definitions, url: str = "", *, local: bool = True, tracing: Tracing | None = None, **allowed: Any
    ) -> Http:
        async def listen() -> TestClient[Any, Any]:
            app = make_app(
                definitions,
                url=url or embedded.store_url(settings),
                region=settings.store.region,
                table=settings.store.table,
                limits=replace(settings.reader, **allowed),
                local=local,
                counters=Counters(SharedMetrics(1)),
                direct=direct_log(settings),
                tracing=tracing,
            )
            client: TestClient[Any, Any] = TestClient(TestServer(app))
            await client.start_server()
            return client

        clients.append(runner.run(listen()))
        return Http(runner, clients[-1])

    yield start
    for client in clients:
        runner.run(client.close())


@pytest.fixture
def definitions() -> Definitions:
    return load_definitions()


@pytest.fixture(autouse=True)
def fresh_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes see what a test wrote a moment ago, and `/ready` has the control items read again."""
    monkeypatch.setattr(controls, "FRESH_SECONDS", 0.0)


@pytest.fixture
def reader(store: Store, start_reader: Callable[..., Http], definitions: Definitions) -> Http:
    return start_reader(definitions)


@pytest.fixture
def behind(store: Store, runner: asyncio.Runner) -> Iterator[Callable[[Misbehaviour], Proxy]]:
    """Put a proxy that misbehaves in front of the store."""
    proxies: list[Proxy] = []

    def start(misbehave: Misbehaviour) -> Proxy:
        proxy = Proxy(embedded.store_url(store.settings), misbehave)
        proxies.append(runner.run(proxy.__aenter__()))
        return proxy

    yield start
    for proxy in proxies:
        runner.run(proxy.__aexit__(None, None, None))


def entity_keys(body: Any) -> list[str]:
    """The keys that a BatchGetItem asks for; none for one that reads the control items."""
    [asked] = body["RequestItems"].values()
    keys = [key[KEY]["S"] for key in asked["Keys"]]
    return [] if keys[0].startswith(CONTROL_PREFIX) else keys
