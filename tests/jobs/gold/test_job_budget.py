"""A refresh costs so many Spark jobs and no more: on small tables they are what it takes its time for."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.gold import refresh
from tailrace.definitions import load_definitions
from tailrace.lake.session import configured
from tailrace.schemas.slots import GRID
from tests import feeds

T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
EVENT = {"event_id": "e1", "event_type": "view", "actor_id": "u1", "document_id": "d1", "occurred_at": T}
EVENT |= {"source": "drive", "attributes": "{}", "delivered_at": T + GRID, "file": "f", "line": 2, "batch": 3}
DOCUMENT = {"document_id": "d1", "title": "Plan", "type": "pdf", "size_bytes": 7, "folder": "/a", "owner": "u3"}
DOCUMENT |= {"updated_at": T, "delivered_at": T + GRID, "file": "f", "line": 4, "batch": 5}

# Adaptive execution makes a job of every stage. Measured: 82 and 35.
JOBS_OF_A_REFRESH = 86
JOBS_WHERE_ONLY_TIME_PASSED = 37


class Counted:
    """Gold of the shipped views after a first refresh; counts the jobs of those that follow."""

    def __init__(self, lake):
        self.lake = lake
        for table, row in ((feeds.INTERACTIONS, EVENT), (feeds.DOCUMENT_FACTS, DOCUMENT)):
            self.deliver(table, row)
        self.refresh(T)

    def deliver(self, table, row):
        self.lake.upsert(
            table, self.lake.spark.createDataFrame([tuple(row.values())], table.ddl), newer="true", state={}
        )

    def refresh(self, as_of):
        """How many jobs it took, and how each view was brought there."""
        scheduler = self.lake.spark.sparkContext._jsc.sc().dagScheduler()
        before = scheduler.numTotalJobs()
        with configured(self.lake.spark, {"spark.sql.adaptive.enabled": "true"}):  # as in production
            done = refresh.run(self.lake, load_definitions(), as_of=as_of)
        return scheduler.numTotalJobs() - before, {one.how for one in done.values()}


@pytest.fixture
def counted(lake):
    return Counted(lake)


@pytest.mark.slow
def test_a_refresh_stays_within_its_budget_of_jobs(counted):
    counted.deliver(feeds.INTERACTIONS, EVENT | {"event_id": "e2", "occurred_at": T + GRID})
    counted.deliver(feeds.DOCUMENT_FACTS, DOCUMENT | {"owner": "u4"})
    jobs, hows = counted.refresh(T + GRID)
    assert hows == {"incremental"}
    assert jobs <= JOBS_OF_A_REFRESH

    jobs, hows = counted.refresh(T + GRID)
    assert (jobs, hows) == (0, {"unchanged"})

    jobs, hows = counted.refresh(T + timedelta(minutes=75))
    assert hows == {"incremental"}
    assert jobs <= JOBS_WHERE_ONLY_TIME_PASSED
