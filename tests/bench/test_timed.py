"""Events are timed from when they were due until they are seen, and those never seen by how long they were waited for."""

from types import SimpleNamespace

import orjson
import pytest

from bench.measured import LoadFailed
from bench.timed import Probes, Timing


class Broker:
    """A topic that hands every event on at once, and makes half of what it is asked for."""

    name = "events"

    def __init__(self):
        self.documents = []

    def send(self, message):
        self.documents.append(orjson.loads(message)["document_id"])

    def flush(self, *, within):
        assert within > 100

    def produce(self, *, rate, timed, **others):
        assert not others["enough"].is_set()
        for number in range(4):
            self.send(timed(due=1_000.0 + number))
        return rate / 2


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on when somebody sleeps."""
    now = [1_010.0]
    monotonic, sleep = lambda: now[0], lambda seconds: now.__setitem__(0, now[0] + seconds)
    monkeypatch.setattr("bench.timed.time", SimpleNamespace(monotonic=monotonic, sleep=sleep))
    return now


def timing(broker, *, hidden=(), watched=()):
    def readable(documents):
        return [one for one in documents if one in broker.documents and one.rpartition("-")[2] not in hidden]

    return Timing(topic=broker, readable=readable, patience=20.0, watched=watched)


def test_waits_count_from_when_an_event_was_due(clock):
    measured = timing(Broker()).at(100, seconds=1)

    assert [due for due, _ in measured.waits] == [1_000, 1_001, 1_002, 1_003]
    assert [round(due + wait, 1) for due, wait in measured.waits] == [1_010] * 4
    assert (measured.produced_per_second, measured.unreadable) == (50, 0)


def test_what_is_never_seen_was_waited_for_as_long_as_there_is_patience(clock):
    measured = timing(Broker(), hidden=("2",)).at(100, seconds=1)

    assert measured.unreadable == 1
    assert measured.waits[2][1] >= 10 - 2 + 20
    assert measured.missed == "not produced"


@pytest.mark.parametrize("while_hopeful", [True, False])
def test_a_rate_that_cannot_be_held_any_more_is_given_up_where_that_is_wanted(clock, while_hopeful):
    class Lasting(Broker):
        def produce(self, *, rate, timed, **others):
            self.send(timed(due=1_000.0))
            self.given_up = others["enough"].wait(30 if while_hopeful else 0.5)
            return rate

    broker = Lasting()
    measured = timing(broker, hidden=("0",)).at(100, seconds=1, while_hopeful=while_hopeful)

    assert broker.given_up is while_hopeful
    assert measured.missed == "not all readable"


def test_a_first_event_that_does_not_come_through_fails_the_run(clock):
    with pytest.raises(LoadFailed, match="the first event of events was not readable within 120 s"):
        timing(Broker(), hidden=("0",)).first_event()


def test_a_process_that_ended_fails_the_run_at_once(clock):
    class Ended:
        args = ("stream",)
        returncode = 3

        def poll(self):
            return self.returncode

    with pytest.raises(LoadFailed, match=r"\('stream',\) ended with 3"):
        timing(Broker(), hidden=("0",), watched=(Ended(),)).first_event()
    assert clock[0] < 1_011


def test_who_looks_rests_four_times_as_long_as_looking_took(clock):
    def slowly(documents):
        clock[0] += 0.5
        return documents

    probes = Probes(readable=slowly)
    probes.next_event(due=1_009.0)
    probes.look()

    assert clock[0] == pytest.approx(1_010 + 0.5 + 2.0)
    assert [wait for _, wait in probes.seen] == [1.5]
