"""What makes the stream begin again, and what ends it."""

import time
from typing import cast

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql.streaming.query import StreamingQuery

from jobs.bronze.topic import KafkaAway
from jobs.streaming import supervise
from jobs.streaming.heartbeat import read_heartbeat, write_heartbeat
from jobs.streaming.supervise import TRIES, Pulse, StreamFailed
from tailrace.definitions import DefinitionError
from tailrace.schemas.landing import LandingError
from tailrace.store.control import LeaseLost, OtherLane
from tailrace.store.dynamodb.connections import CredentialsError
from tailrace.store.failures import StoreError

WAITING = {"message": "Waiting for data to arrive", "isDataAvailable": False, "isTriggerActive": False}
BUSY = {"message": "Processing new data", "isDataAvailable": True, "isTriggerActive": True}
TERMINATED = "[STREAM_FAILED] Query [id = 5a, runId = c2] terminated with exception: "
OF_PYTHON = f"""{TERMINATED}[FOREACH_BATCH_USER_FUNCTION_ERROR] An error occurred. Return Message: Traceback (most recent call last):
  File "wire.py", line 124, in send
ConnectionRefusedError: [Errno 111] Connect call failed

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "lease.py", line 39, in with_client
{{raised}}
    at py4j.Protocol.getReturnValue(Protocol.java:476)
"""


def ended(text):
    return StreamingQueryException(text)


def of_python(raised):
    return ended(OF_PYTHON.format(raised=raised))


class Query:
    """Waits for data for a while, and then ends as it is told."""

    def __init__(self, end=None, *, looks=0):
        self.end, self.looks, self.stopped = end, looks, False
        self.status, self.lastProgress = WAITING, None

    def awaitTermination(self, _):  # noqa: N802  # Spark's name
        self.looks -= 1
        if self.looks >= 0:
            return False
        if self.end:
            raise self.end
        return True

    def stop(self):
        self.stopped = True


class Restless(Pulse):
    """Notes how long it is to rest, and does not."""

    def __init__(self, home):
        super().__init__(home, tend=lambda _: None)
        self.rested: list[float] = []

    def rest(self, seconds):
        self.rested.append(seconds)
        self.write_heartbeat()


@pytest.fixture
def pulse(tmp_path):
    return Restless(tmp_path)


def begin_each(*queries):
    left = list(queries)

    def begin():
        one = left.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    return begin


def test_after_outages_it_begins_again_ever_later_and_soon_again_once_it_was_well(pulse):
    away = of_python("tailrace.store.dynamodb.calls.StoreError: online store: Unreachable: http://127.0.0.1:1")
    kafka_away = of_python("jobs.bronze.topic.KafkaAway: Kafka at kafka:9092 does not tell of topic events")
    failing = [Query(away) for _ in range(6)] + [Query(kafka_away)]
    well = Query(ended(f"{TERMINATED}Timed out waiting for a node assignment\n=== Streaming Query ==="), looks=1)

    supervise.keep_following(begin_each(*failing, well, StoreError("Unreachable", "away"), Query()), pulse)

    assert pulse.rested == [1, 2, 4, 8, 16, 30, 30, 1, 2]
    assert all(query.stopped for query in (*failing, well))


def test_the_heartbeat_says_since_when_it_fails_and_of_what(pulse, tmp_path):
    began = time.time()
    pulse._written = 0.0
    supervise.keep_following(
        begin_each(Query(of_python("tailrace.store.lease.PushUnderWay: view a: another push")), Query()), pulse
    )

    told = read_heartbeat(tmp_path)
    assert told
    assert told.error == "view a: another push"
    assert began <= (told.failing_since or 0) <= time.time()


def test_a_kafka_that_is_away_when_it_begins_is_told_and_tried_again(pulse, tmp_path):
    away = KafkaAway("Kafka at kafka:9092 does not tell of topic events: Timeout expired")
    spark_gave_up = ended(f"{TERMINATED}Timed out waiting for a node assignment")
    told = []

    def begin():
        heartbeat = read_heartbeat(tmp_path)
        told.append(heartbeat and heartbeat.error)
        return queries()

    queries = begin_each(away, away, Query(spark_gave_up, looks=1), away, Query())
    pulse.rest = lambda _: write_heartbeat(tmp_path, pulse.heartbeat)
    supervise.keep_following(begin, pulse)

    assert told == [None, str(away), str(away), "Timed out waiting for a node assignment", str(away)]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (of_python("tailrace.store.control.OtherLane: view a: its values are those of the lane batch"), "lane batch"),
        (of_python("jobs.streaming.micro_batch.StoreLost: the store has nothing of pairs"), "nothing of pairs"),
        (of_python("tailrace.schemas.landing.LandingError: the topic was made anew"), "made anew"),
        (ended(f"{TERMINATED}[KAFKA_DATA_LOSS.X] Some data may have been lost"), "may have been lost"),
    ],
    ids=["another lane", "the store lost", "the topic made anew", "messages lost"],
)
def test_what_does_not_pass_ends_it_and_leaves_word(pulse, tmp_path, error, told):
    with pytest.raises(StreamFailed, match=told):
        supervise.keep_following(begin_each(Query(error)), pulse)

    left = read_heartbeat(tmp_path)
    assert left
    assert told in (left.error or "")


def test_of_a_folder_no_more_is_readable_than_was_listed(tmp_path):
    moved: list[float | None] = []
    pulse = Pulse(tmp_path, tend=moved.append, listed=lambda: 5.0)

    supervise.keep_following(begin_each(Query(looks=1)), pulse)

    assert (moved, pulse.heartbeat.caught_up_to) == ([5.0], 5.0)


def test_what_a_micro_batch_holds_is_tried_a_few_times_and_ends_it_then(pulse, tmp_path):
    of_data = [Query(of_python("OverflowError: int too big to convert")) for _ in range(TRIES)]
    away = of_python("tailrace.store.dynamodb.calls.StoreError: online store: Unreachable: http://127.0.0.1:1")

    with pytest.raises(StreamFailed, match="int too big"):
        supervise.keep_following(begin_each(Query(away), *of_data), pulse)

    assert len(pulse.rested) == TRIES
    left = read_heartbeat(tmp_path)
    assert left
    assert "no store or Kafka was away" in (left.error or "")


def test_what_was_tried_is_forgotten_once_it_was_well(pulse):
    of_data = [Query(of_python("OverflowError: int too big to convert")) for _ in range(TRIES - 1)]
    well = [Query(of_python("OverflowError: int too big to convert"), looks=1) for _ in range(2)]

    supervise.keep_following(begin_each(*of_data, *well, Query()), pulse)

    assert len(pulse.rested) == TRIES + 1


def test_a_definition_that_cannot_be_used_ends_it_before_it_begins(pulse):
    with pytest.raises(DefinitionError):
        supervise.keep_following(begin_each(DefinitionError("no view of pairs")), pulse)
    assert pulse.heartbeat.error == "no view of pairs"


def test_an_own_error_that_may_pass_has_it_begin_again_and_its_watermarks_wait(pulse, tmp_path):
    supervise.keep_following(
        begin_each(LeaseLost("view a: it went to another"), CredentialsError("no role"), Query()), pulse
    )
    assert pulse.rested == [1, 2]

    tending = Pulse(tmp_path, tend=raising(LeaseLost("view a: it went to another")))
    tending.tend(5.0)
    assert tending.heartbeat.error == "view a: it went to another"


def test_an_own_error_that_stays_ends_it_also_where_the_watermarks_meet_it(tmp_path):
    pulse = Pulse(tmp_path, tend=raising(OtherLane("view a: its values are those of the lane batch")))

    with pytest.raises(OtherLane):
        supervise.keep_following(begin_each(Query(looks=1)), pulse)
    assert "lane batch" in (pulse.heartbeat.error or "")


def raising(error):
    def tend(_):
        raise error

    return tend


def test_a_kafka_that_refuses_ends_it_before_it_begins(pulse):
    with pytest.raises(LandingError):
        supervise.keep_following(begin_each(LandingError("Authentication failed")), pulse)
    assert pulse.heartbeat.error == "Authentication failed"


def test_the_store_is_looked_after_every_few_seconds_and_its_watermarks_move_while_nothing_comes(tmp_path, monkeypatch):
    tended: list[float | None] = []
    clock, query = [100.0], Query()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pulse = Pulse(tmp_path, tend=tended.append)

    def look(seconds):
        clock[0] += seconds
        pulse.look(cast("StreamingQuery", query))

    for _ in range(40):
        look(supervise.LOOK_SECONDS)
    assert len([to for to in tended if to]) == 3
    query.status = BUSY
    look(10)
    assert tended[3:] == [None]

    def away(_):
        raise StoreError("Unreachable", "away")

    pulse._tend = away
    look(10)
    pulse._tend = tended.append
    look(10)  # that a micro-batch is under way says nothing of the store
    assert pulse.heartbeat.error == "online store: Unreachable: away"
    query.status = WAITING
    look(10)
    assert pulse.heartbeat.error is None
