"""Where the downloads are, in a checkout and without one."""

from importlib.metadata import version
from pathlib import Path

import pytest

from tailrace.settings import places, read_settings


@pytest.fixture
def installed(monkeypatch):
    """As if only the package were installed."""
    monkeypatch.setattr(places, "in_checkout", lambda: False)


def test_without_a_checkout_downloads_are_in_a_cache_of_this_version(installed, tmp_path):
    settings = read_settings({"XDG_CACHE_HOME": str(tmp_path), "TAILRACE_KAFKA": "127.0.0.1:1"})

    tools = tmp_path / "tailrace" / version("tailrace")
    assert (settings.spark.jars, settings.store.binary) == (tools / "jars", tools / "dynoxide")
    assert (settings.spark.kafka_jars, settings.stream.broker_jars) == (tools / "kafka-spark", tools / "kafka")


def test_the_cache_is_the_users_own_where_no_other_is_named(installed):
    assert places.tools_folder({}) == Path.home() / ".cache" / "tailrace" / version("tailrace")


def test_messages_name_the_command_that_fetches(installed):
    assert (places.set_up_command(), places.set_up_command(stream=True)) == (
        "tailrace setup",
        "tailrace setup --stream",
    )
