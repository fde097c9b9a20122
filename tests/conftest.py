"""One Spark session for all tests, and homes of their own."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lake.session import open_session
from lake.tables import Lake
from online import embedded
from settings import Settings, read_settings

SPARK = {
    # A JVM here lives for minutes at most, much of which would go into optimising what never runs again.
    "TAILRACE_SPARK_JAVA_OPTIONS": f"{read_settings({}).spark.java_options} -XX:TieredStopAtLevel=1",
    "TAILRACE_SPARK_MASTER": "local[2]",
    "TAILRACE_SPARK_MEMORY": "2g",
    "TAILRACE_SHUFFLE_PARTITIONS": "2",
}

# Nor into generating code for plans that run once over a few rows. Whole refreshes, which tests start as processes, do.
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}

PATIENT_MS = "30000"  # of a reader: a machine that has much else to do must not turn values into timeouts


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the longest tests first, so that none is left to run alone at the end."""
    longest: dict[Path, float] = defaultdict(float)
    for item in items:
        limit = item.get_closest_marker("timeout")
        if limit is not None:
            longest[item.path] = max(longest[item.path], limit.args[0])
    items.sort(key=lambda item: longest[item.path], reverse=True)


@pytest.fixture(scope="session")
def spark() -> SparkSession:
    session = open_session(read_settings(SPARK | {"TAILRACE_KAFKA": "any"}).spark)  # with what reads Kafka
    # Where sessions that are opened beside this one begin: a refresh opens one for each view.
    shared = session._jsparkSession.sharedState().conf()
    for key, value in INTERPRETED.items():
        session.conf.set(key, value)
        shared.set(key, value)
    return session


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, str(tmp_path / "lake"))


@pytest.fixture
def patient_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers in processes of their own answer when they have all values."""
    monkeypatch.setenv("TAILRACE_READER_BUDGET_MS", PATIENT_MS)


@pytest.fixture
def make_settings(tmp_path: Path) -> Iterator[Callable[..., Settings]]:
    """Settings of a home below the test's folder; its embedded store is stopped at the end."""
    made = []

    def make(name: str = "home", **variables: str) -> Settings:
        settings = read_settings(SPARK | {"TAILRACE_HOME": str(tmp_path / name)} | variables)
        made.append(settings)
        return settings

    yield make
    for settings in made:
        embedded.stop(settings)
