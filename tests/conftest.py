"""One Spark session for all tests, and homes of their own."""

import gc
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from _pytest.nodeid import NodeId
from pyspark.sql import SparkSession
from xdist.scheduler import LoadGroupScheduling

from tailrace.lake.session import open_session
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze, view_tables
from tailrace.settings import Settings, read_settings
from tailrace.store import embedded
from tests import feeds

# A JVM here lives for minutes at most, much of which would go into optimising what never runs again, into generating code
# for plans that run once over a few rows, and into planning them anew after each of their stages. The DAGs that run as a
# whole do all that, as in production.
BRIEF = (
    "-XX:TieredStopAtLevel=1"
    " -Dspark.sql.codegen.wholeStage=false -Dspark.sql.codegen.factoryMode=NO_CODEGEN"
    " -Dspark.sql.adaptive.enabled=false"
    " -Dspark.sql.lightweightPlanChangeValidation=false -Dspark.sql.ui.explainMode=simple"
)

# A heap that begins at its full size is not collected as a whole each time that it grows.
HEAP = "-Xms2g -Xmn1g"

SPARK = {
    "TAILRACE_SPARK_JAVA_OPTIONS": f"{read_settings({}).spark.java_options} {BRIEF} {HEAP}",
    "TAILRACE_SPARK_MASTER": "local[2]",
    "TAILRACE_SPARK_MEMORY": "2g",
    "TAILRACE_SHUFFLE_PARTITIONS": "2",
}

# Tests with Spark run in two processes, a JVM each: those of the lake and its gate, and all others, which take as long. A third JVM would
# cost more to warm up than it does on two cores, and one alone leaves a core idle.
LAKE = Path(__file__).parent / "tailrace"

# Stores and tables lie in memory where there is enough: the embedded store waits for the disk with each row.
MEMORY = Path("/dev/shm")
ROOM_BYTES = 6 * 2**30
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# Of random examples quick tests try a few, other ones each time; `make soak` tries many. A slow machine fails none of them.
hypothesis.settings.register_profile("quick", max_examples=40, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=1_000, deadline=None)
hypothesis.settings.load_profile("quick")

PATIENT_MS = "30000"  # of a reader: a machine that has much else to do must not turn values into timeouts


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for no garbage among what is collected, and not later either: it lasts as long as the process."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Name the process of each test with Spark, put these first, and of the others files with the longest tests.

    No file is left to run alone at the end then, and both processes with Spark begin at once. The process follows an `@`
    behind a test's name, where xdist looks for it; xdist 3.8 itself writes it where pytest 9.2 no longer reads.
    """
    longest: dict[Path, float] = defaultdict(float)
    grouped: set[pytest.Item] = set()
    for item in items:
        limit = item.get_closest_marker("timeout")
        if limit is not None:
            longest[item.path] = max(longest[item.path], limit.args[0])
        if getattr(config.option, "loadgroup", False) and "spark" in getattr(item, "fixturenames", ()):
            process = "lake" if item.path.is_relative_to(LAKE) else "jobs"
            item._id = NodeId.parse(f"{item.nodeid}@spark-{process}")
            grouped.add(item)
    items.sort(key=lambda item: (item not in grouped, -longest[item.path]))


class BySparkAndFile(LoadGroupScheduling):  # type: ignore[misc]  # xdist ships no types
    """Tests with Spark run in their process, all others file by file."""

    def _split_scope(self, nodeid: str) -> str:
        group = str(super()._split_scope(nodeid))
        return group.split("::", maxsplit=1)[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadGroupScheduling | None:
    return BySparkAndFile(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def spark() -> SparkSession:
    session = open_session(read_settings(SPARK | {"TAILRACE_KAFKA": "any"}).spark)  # with what reads Kafka
    session._jsc.setCallSite("tests")  # else each job looks through the stack for where it comes from
    return session


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, str(tmp_path / "lake"))


@pytest.fixture(scope="session")
def empty_tables(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with what a home has from its first refresh, empty: `copied` from here, tables need not be made one by one."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("empty") / "lake"))
    fed = [table for feed in feeds.FEEDS for table in (feed.table, feed.silver) if table]
    for table in (*fed, *bronze.TABLES, view_tables.SCHEMAS, view_tables.RUNS):
        lake.create(table)
    return lake


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
