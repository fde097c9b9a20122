"""A lease held while a push is under way, in a real store."""

import itertools
import threading
import time

import pytest

from contracts.tables import Column, Type
from online import control, embedded
from online.control import Cursor
from online.items import ensure_table
from online.wire import StoreError
from settings import read_settings
from sinks import lease
from sinks.lease import PushUnderWay, leased, with_client
from sinks.rows import Address

TABLE_NUMBERS = itertools.count()
SECONDS = 0.9


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


@pytest.fixture(autouse=True)
def _ask_often(monkeypatch):
    monkeypatch.setattr(lease, "RETRY_SECONDS", 0.05)


def found(address):
    return with_client(address, lambda client: control.read_controls(client, ["visits"]))["visits"]


def try_to_take(address, *, seconds=1.0):
    return with_client(address, lambda client: control.take_lease(client, "visits", owner="other", seconds=seconds))


def close(address, sequence):
    cursor = Cursor(table_id="7f3a", version=12, fingerprint="bc2bee73e2fd2b86")
    features = (Column("views", Type.INT64, ""),)

    def action(client):
        return control.close_push(client, "visits", sequence=sequence, cursor=cursor, watermark=7, features=features)

    with_client(address, action)


def test_a_lease_is_taken_where_not_even_a_table_is(address):
    with leased(address, "visits", seconds=SECONDS) as taken:
        assert (taken.sequence, taken.open, taken.cursor) == (1, False, None)
        assert found(address).lease_until > time.time()


def test_renewals_keep_a_lease_past_its_time(address):
    with leased(address, "visits", seconds=SECONDS):
        time.sleep(2 * SECONDS)

        assert try_to_take(address) is None


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


def test_renewing_ends_with_the_block(address):
    before = threading.active_count()
    with leased(address, "visits", seconds=SECONDS):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    time.sleep(1.2 * SECONDS)

    taken = try_to_take(address)

    assert taken is not None


def test_a_closed_push_leaves_the_lease_free_at_once(address):
    with leased(address, "visits", seconds=60) as taken:
        close(address, taken.sequence)

    assert try_to_take(address) is not None


def test_a_renewal_after_closing_does_not_take_the_lease_back(address):
    with leased(address, "visits", seconds=SECONDS) as taken:
        close(address, taken.sequence)
        time.sleep(SECONDS)  # the renewals' thread goes on until the block ends

    assert try_to_take(address) is not None


@pytest.mark.parametrize("error", [RuntimeError("oh"), KeyboardInterrupt()])
def test_an_error_inside_gives_the_lease_up_at_once_and_leaves_the_open_mark(address, error):
    def declare_and_fail():
        with leased(address, "visits", seconds=60) as taken:
            sequence, owner = taken.sequence, taken.lease_owner
            with_client(address, lambda client: control.declare_push(client, "visits", sequence=sequence, owner=owner))
            raise error

    with pytest.raises(type(error)):
        declare_and_fail()

    after = found(address)
    assert (after.open, after.lease_until, after.cursor) == (True, 0.0, None)
    again = try_to_take(address)
    assert again is not None
    assert (again.sequence, again.open) == (2, True)


def test_an_error_after_the_store_went_away_is_the_one_that_is_raised(address, monkeypatch):
    async def unreachable(*_, **__):
        raise StoreError("Unreachable", "gone")

    def fail_without_a_store():
        with leased(address, "visits", seconds=60):
            monkeypatch.setattr(control, "renew_lease", unreachable)
            raise RuntimeError("oh")

    with pytest.raises(RuntimeError, match=r"^oh$"):
        fail_without_a_store()


def test_an_error_of_a_push_that_lost_its_lease_leaves_the_new_one_alone(address):
    def lose_and_fail():
        with leased(address, "visits", seconds=60) as taken:
            with_client(address, lambda c: control.renew_lease(c, "visits", sequence=taken.sequence, seconds=0))
            assert try_to_take(address, seconds=60) is not None
            raise RuntimeError("oh")

    with pytest.raises(RuntimeError, match=r"^oh$"):
        lose_and_fail()

    after = found(address)
    assert (after.lease_owner, after.sequence) == ("other", 2)
    assert after.lease_until > time.time() + 30


def test_a_second_push_waits_for_a_lease_that_ends(address):
    with_client(address, ensure_table)
    began = time.monotonic()
    try_to_take(address, seconds=0.5)

    with leased(address, "visits", seconds=SECONDS) as taken:
        waited = time.monotonic() - began

    assert taken.sequence == 2
    assert waited >= 0.5


def test_a_second_push_does_not_wait_for_ever(address, monkeypatch):
    monkeypatch.setattr(lease, "PATIENCE", 2)
    with_client(address, ensure_table)
    try_to_take(address, seconds=60)
    began = time.monotonic()

    with pytest.raises(PushUnderWay, match=r"^view visits: another push has held its lease for 0 s"):
        lease.take(address, "visits", 0.2)

    assert 0.4 < time.monotonic() - began < 20


def test_renewals_go_on_after_the_store_was_away_for_a_moment(address, monkeypatch):
    with leased(address, "visits", seconds=SECONDS):
        real, away = control.renew_lease, threading.Event()

        async def away_once(*arguments, **options):
            if not away.is_set():
                away.set()
                raise StoreError("Unreachable", "away")
            await real(*arguments, **options)

        monkeypatch.setattr(control, "renew_lease", away_once)
        time.sleep(1.6 * SECONDS)

        assert away.is_set()
        assert try_to_take(address) is None


def test_an_errand_of_code_that_is_not_asynchronous_is_answered(address):
    async def name(client):
        return client.table

    assert with_client(address, name) == address.table
