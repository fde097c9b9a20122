"""A store that the tests of writing share."""

import itertools

import pytest

from tailrace.lake.tables import Lake
from tailrace.schemas import view_tables
from tailrace.settings import read_settings
from tailrace.store import embedded, port
from tailrace.store.address import Address
from tests.sinks.direct_lane import Lane
from tests.sinks.leased import run_with_table
from tests.sinks.publisher import VISITS, Publisher
from tests.tailrace.lake.copies import copied

TABLE_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def writer_url(tmp_path_factory):
    settings = read_settings({"TAILRACE_HOME": str(tmp_path_factory.mktemp("writer"))})
    yield embedded.start(settings).url
    embedded.stop(settings)


@pytest.fixture(params=["transactions", "updates"])
def writes(request):
    """How rows are written."""
    return request.param


@pytest.fixture(params=[False, True], ids=["", "as new items"])
def new_items(request):
    """Whether rows are taken for the first of their items."""
    return request.param


@pytest.fixture
def with_table(writer_url, writes, new_items):
    """Run a test's coroutine with a table, once for each way of writing."""
    return lambda action: run_with_table(writer_url, action, writes, new_items=new_items)


@pytest.fixture(autouse=True)
def sequences_from_one(monkeypatch):
    """The first sequence of a view is 1, not what the clock says."""
    monkeypatch.setattr(port, "sequence_before_first", lambda *_: 0)


@pytest.fixture(scope="session")
def never_pushed(empty_tables, tmp_path_factory):
    """The tables of a push, empty, which each publisher begins with a copy of."""
    lake = copied(empty_tables, Lake(empty_tables.spark, str(tmp_path_factory.mktemp("never pushed") / "lake")))
    for table in (VISITS.table, view_tables.history_table(VISITS.name)):
        lake.create(table)
    return lake


@pytest.fixture
def publisher(never_pushed, lake, writer_url):
    copied(never_pushed, lake)
    table = f"publisher-{next(TABLE_NUMBERS)}"
    address = Address(
        url=writer_url, region="us-east-1", table=table, in_flight=2, writes="transactions", lease_seconds=30
    )
    return Publisher(lake, address)


@pytest.fixture
def lane(empty_tables, lake, writer_url, tmp_path):
    copied(empty_tables, lake)
    table = f"direct-{next(TABLE_NUMBERS)}"
    address = Address(
        url=writer_url, region="us-east-1", table=table, in_flight=2, writes="transactions", lease_seconds=5
    )
    return Lane(lake, address, tmp_path)
