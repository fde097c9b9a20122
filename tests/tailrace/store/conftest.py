"""A real embedded store with a table per test."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from tailrace.settings import read_settings
from tailrace.store import embedded, port
from tailrace.store.dynamodb.calls import StoreClient, open_client
from tailrace.store.dynamodb.store import ensure_table

TABLE_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Store:
    """One table of a running store; `run` gives an action a client of it, at another address if told."""

    url: str
    table: str

    def open(self, url: str = "") -> AbstractAsyncContextManager[StoreClient]:
        return open_client(url=url or self.url, region="us-east-1", table=self.table)

    def run(self, action: Callable[[StoreClient], Awaitable[Any]]) -> Any:
        async def go() -> Any:
            async with self.open() as client:
                return await action(client)

        return asyncio.run(go())


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Running]:
    settings = read_settings({"TAILRACE_HOME": str(tmp_path_factory.mktemp("online"))})
    yield embedded.start(settings)
    embedded.stop(settings)


@pytest.fixture
def store(running: embedded.Running) -> Store:
    store = Store(running.url, f"online-{next(TABLE_NUMBERS)}")
    store.run(ensure_table)
    return store


@pytest.fixture(autouse=True)
def sequences_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first sequence of a view is 1, not what the clock says."""
    monkeypatch.setattr(port, "sequence_before_first", lambda *_: 0)
