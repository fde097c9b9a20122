"""A lease held while a push is under way, in a real store."""

import itertools
import threading
import time
from dataclasses import dataclass

import pytest

from tailrace.schemas.tables import Column, Type
from tailrace.settings import read_settings
from tailrace.store import embedded, lease
from tailrace.store.address import Address
from tailrace.store.control import Cursor
from tailrace.store.dynamodb.store import DynamoStore, ensure_table
from tailrace.store.failures import StoreError
from tailrace.store.lease import Clock, PushUnderWay, leased
from tests.store_client import with_client

TABLE_NUMBERS = itertools.count()
SECONDS = 30
NINE = 1_772_355_600.0


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    settings = read_settings({"TAILRACE_HOME": str(tmp_path_factory.mktemp("lease"))})
    yield embedded.start(settings).url
    embedded.stop(settings)


@pytest.fixture
def address(url):
    return Address(
        url=url,
        region="us-east-1",
        table=f"lease-{next(TABLE_NUMBERS)}",
        in_flight=1,
        writes="transactions",
        lease_seconds=SECONDS,
    )


@dataclass
class HandSet:
    """A time that passes when it is told to, or when somebody waits."""

    seconds: float = NINE

    def now(self):
        return self.seconds

    def pass_by(self, seconds):
        self.seconds += seconds

    @property
    def clock(self):
        return Clock(now=self.now, monotonic=self.now, sleep=self.pass_by)


@pytest.fixture
def time_here():
    return HandSet()


class AfterRenewals(threading.Event):
    """Ends renewals when there were so many; the time between two passes at once."""

    def __init__(self, time_here, count):
        super().__init__()
        self.waits: list[float] = []
        self._time_here = time_here
        self._count = count

    def wait(self, seconds: float | None = None) -> bool:
        assert seconds is not None
        if len(self.waits) == self._count:
            return True
        self.waits.append(seconds)
        self._time_here.pass_by(seconds)
        return False


def found(address):
    return with_client(address, lambda client: DynamoStore(client).read_controls(["visits"]))["visits"]


def try_to_take(address, time_here, *, seconds=1.0):
    return with_client(
        address,
        lambda client: DynamoStore(client).take_lease("visits", owner="other", seconds=seconds, clock=time_here.now),
    )


def close(address, sequence):
    cursor = Cursor(table_id="7f3a", version=12, fingerprint="bc2bee73e2fd2b86")
    features = (Column("views", Type.INT64, ""),)

    def action(client):
        return DynamoStore(client).close_push(
            "visits", sequence=sequence, cursor=cursor, watermark=7, features=features
        )

    with_client(address, action)


def test_a_lease_is_taken_where_not_even_a_table_is(address, time_here):
    with leased(address, "visits", seconds=SECONDS, clock=time_here.clock) as taken:
        assert (taken.sequence, taken.open, taken.cursor) == (1, False, None)
        assert found(address).lease_until == NINE + SECONDS


def test_renewals_keep_a_lease_past_its_time(address, time_here):
    taken = lease.take(address, "visits", SECONDS, clock=time_here.clock)
    done = AfterRenewals(time_here, 7)

    lease.renew(address, "visits", taken.sequence, SECONDS, done, clock=time_here.clock)

    assert done.waits == [0, *[SECONDS / 3] * 6]
    assert found(address).lease_until == NINE + 3 * SECONDS
    assert try_to_take(address, time_here) is None


def test_a_lease_is_renewed_at_once(address):
    taken = lease.take(address, "visits", SECONDS)
    before = found(address).lease_until
    done = threading.Event()
    renewing = threading.Thread(target=lease.renew, args=(address, "visits", taken.sequence, 600, done))
    renewing.start()
    for _ in range(100):
        if found(address).lease_until > before:
            break
        time.sleep(0.05)
    lease.stop(renewing, done)

    assert found(address).lease_until > before


def test_renewing_ends_with_the_block(address, time_here):
    before = threading.active_count()
    with leased(address, "visits", seconds=SECONDS, clock=time_here.clock):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert try_to_take(address, time_here) is None

    time_here.pass_by(SECONDS + 1)

    assert try_to_take(address, time_here) is not None


def test_a_closed_push_leaves_the_lease_free_at_once(address, time_here):
    with leased(address, "visits", seconds=60, clock=time_here.clock) as taken:
        close(address, taken.sequence)

    assert try_to_take(address, time_here) is not None


def test_a_renewal_after_closing_does_not_take_the_lease_back(address, time_here):
    taken = lease.take(address, "visits", SECONDS, clock=time_here.clock)
    close(address, taken.sequence)
    done = AfterRenewals(time_here, 5)

    lease.renew(address, "visits", taken.sequence, SECONDS, done, clock=time_here.clock)

    assert len(done.waits) == 1
    assert try_to_take(address, time_here) is not None


@pytest.mark.parametrize("error", [RuntimeError("oh"), KeyboardInterrupt()])
def test_an_error_inside_gives_the_lease_up_at_once_and_leaves_the_open_mark(address, time_here, error):
    def declare_and_fail():
        with leased(address, "visits", seconds=60, clock=time_here.clock) as taken:
            sequence, owner = taken.sequence, taken.lease_owner
            with_client(
                address, lambda client: DynamoStore(client).declare_push("visits", sequence=sequence, owner=owner)
            )
            raise error

    with pytest.raises(type(error)):
        declare_and_fail()

    after = found(address)
    assert (after.open, after.lease_until, after.cursor) == (True, 0.0, None)
    again = try_to_take(address, time_here)
    assert again is not None
    assert (again.sequence, again.open) == (2, True)


def test_an_error_after_the_store_went_away_is_the_one_that_is_raised(address, monkeypatch):
    async def unreachable(*_, **__):
        raise StoreError("Unreachable", "gone")

    def fail_without_a_store():
        with leased(address, "visits", seconds=60):
            monkeypatch.setattr(DynamoStore, "renew_lease", unreachable)
            raise RuntimeError("oh")

    with pytest.raises(RuntimeError, match=r"^oh$"):
        fail_without_a_store()


def test_an_error_of_a_push_that_lost_its_lease_leaves_the_new_one_alone(address, time_here):
    def lose_and_fail():
        with leased(address, "visits", seconds=60, clock=time_here.clock) as taken:
            with_client(address, lambda c: DynamoStore(c).renew_lease("visits", sequence=taken.sequence, seconds=0))
            assert try_to_take(address, time_here, seconds=60) is not None
            raise RuntimeError("oh")

    with pytest.raises(RuntimeError, match=r"^oh$"):
        lose_and_fail()

    after = found(address)
    assert (after.lease_owner, after.sequence, after.lease_until) == ("other", 2, NINE + 60)


def test_a_second_push_waits_for_a_lease_that_ends(address, time_here):
    with_client(address, ensure_table)
    try_to_take(address, time_here, seconds=SECONDS)

    taken = lease.take(address, "visits", SECONDS, clock=time_here.clock)

    assert taken.sequence == 2
    assert time_here.now() == NINE + SECONDS + lease.RETRY_SECONDS  # the first try after the lease ended


def test_a_second_push_does_not_wait_for_ever(address, time_here):
    with_client(address, ensure_table)
    try_to_take(address, time_here, seconds=600)

    with pytest.raises(PushUnderWay, match=r"^view visits: another push has held its lease for 20 s"):
        lease.take(address, "visits", 5, clock=time_here.clock)

    assert time_here.now() == NINE + 20 + lease.RETRY_SECONDS


def test_renewals_go_on_after_the_store_was_away_for_a_moment(address, time_here, monkeypatch):
    taken = lease.take(address, "visits", SECONDS, clock=time_here.clock)
    real, away = DynamoStore.renew_lease, threading.Event()

    async def away_once(*arguments, **options):
        if not away.is_set():
            away.set()
            raise StoreError("Unreachable", "away")
        await real(*arguments, **options)

    monkeypatch.setattr(DynamoStore, "renew_lease", away_once)
    lease.renew(address, "visits", taken.sequence, SECONDS, AfterRenewals(time_here, 5), clock=time_here.clock)

    assert away.is_set()
    assert found(address).lease_until == NINE + 4 * SECONDS / 3 + SECONDS
    assert try_to_take(address, time_here) is None


def test_an_errand_of_code_that_is_not_asynchronous_is_answered(address):
    async def name(client):
        return client.table

    assert with_client(address, name) == address.table
