"""A store that the tests of writing share."""

import pytest

from online import embedded
from settings import read_settings
from tests.sinks.leased import run_with_table


@pytest.fixture(scope="session")
def writer_url(tmp_path_factory):
    settings = read_settings({"TAILRACE_HOME": str(tmp_path_factory.mktemp("writer"))})
    yield embedded.start(settings).url
    embedded.stop(settings)


@pytest.fixture(params=["transactions", "updates"])
def with_table(writer_url, request):
    """Run a test's coroutine with a table, once for each way of writing."""
    return lambda action: run_with_table(writer_url, action, request.param)
