"""The lease of a view: acquired, renewed, released, and the fence that it gives."""

import asyncio
import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tailrace.definitions import BATCH
from tailrace.errors import ConflictError
from tailrace.store.address import Address, with_store
from tailrace.store.control import Control, LeaseLost
from tailrace.store.failures import StoreError
from tailrace.store.port import Store

RETRY_SECONDS = 0.5
PATIENCE = 4  # lease times to wait for another push before giving up
RENEWALS = 3  # per lease time


@dataclass(frozen=True, kw_only=True)
class Clock:
    """What a lease goes by: the time it is written with, one that is never set back, and a wait between two tries."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


CLOCK = Clock()


class PushUnderWay(ConflictError):
    """Another push holds the view; the message says which and for how long."""


@contextmanager
def leased(
    address: Address,
    view: str,
    *,
    seconds: float,
    lane: str = BATCH,
    owner: str | None = None,
    keep_cursor: bool = True,
    clock: Clock = CLOCK,
) -> Iterator[Control]:
    """Take the view's lease and renew it until the block ends.

    An error inside gives the lease up at once and leaves the open mark set: the next push writes
    every key touched since the cursor.
    """
    control = take(address, view, seconds, lane=lane, owner=owner, keep_cursor=keep_cursor, clock=clock)
    done = threading.Event()
    about = (address, view, control.sequence, seconds, done)
    renewing = threading.Thread(target=renew, args=about, kwargs={"clock": clock}, daemon=True)
    renewing.start()
    try:
        yield control
    except BaseException:
        stop(renewing, done)
        give_up(address, view, control.sequence)
        raise
    stop(renewing, done)


def take(
    address: Address,
    view: str,
    seconds: float,
    *,
    lane: str = BATCH,
    owner: str | None = None,
    keep_cursor: bool = True,
    clock: Clock = CLOCK,
) -> Control:
    """Take the lease, waiting while a push that may be dead still holds it.

    An owner that is given takes its own lease over at once; by default each taking has an owner of its own.
    Raises `OtherLane` where the view's values are those of another lane than this.
    """
    owner = owner or f"{socket.gethostname()}/{uuid.uuid4().hex}"
    deadline = clock.monotonic() + PATIENCE * seconds

    async def try_once(store: Store) -> Control | None:
        await store.ensure_ready()
        control = await store.take_lease(
            view, owner=owner, seconds=seconds, lane=lane, keep_cursor=keep_cursor, clock=clock.now
        )
        if control is None:
            await store.check_lane(view, lane)
        return control

    while True:
        control = with_store(address, try_once)
        if control is not None:
            return control
        if clock.monotonic() > deadline:
            raise PushUnderWay(
                f"view {view}: another push has held its lease for {PATIENCE * seconds:.0f} s; try again"
            )
        clock.sleep(RETRY_SECONDS)


def renew(
    address: Address, view: str, sequence: int, seconds: float, done: threading.Event, *, clock: Clock = CLOCK
) -> None:
    """Renew a lease until all is done, at once for the first time: a task may have waited for its turn."""

    async def once_more(store: Store) -> None:
        await store.renew_lease(view, sequence=sequence, seconds=seconds, clock=clock.now)

    left = 0.0
    while not done.wait(left):
        left = seconds / RENEWALS
        try:
            with_store(address, once_more)
        except LeaseLost:
            return  # every write of this push is refused from here on
        except StoreError:
            continue  # the store may come back before the lease ends


def give_up(address: Address, view: str, sequence: int) -> None:
    """Give a lease up, the open mark staying as it is; if the store does not hear it, the lease ends by itself."""
    with contextlib.suppress(LeaseLost, StoreError):
        with_store(address, lambda store: store.renew_lease(view, sequence=sequence, seconds=0))


def stop(renewing: threading.Thread, done: threading.Event) -> None:
    """End the renewals."""
    done.set()
    renewing.join()


@dataclass(frozen=True, kw_only=True)
class Sequenced:
    """What every write of one push carries: the view and the sequence.

    `lease_seconds` is how long the push holds its lease without renewing it. `new_items` says that most rows are the
    first of their items, which are written whole then: quicker, and by the same rules.
    """

    view: str
    sequence: int
    lease_seconds: float
    new_items: bool = False


CHECKS = 3  # per lease time


def seconds_since_boot() -> float:
    """Seconds that passed, suspended ones too: a laptop or virtual machine that slept has slept its lease away."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fence:
    """Knows how long ago the lease was last seen to be ours, and looks again where that is too long."""

    def __init__(self, store: Store, push: Sequenced, *, clock: Callable[[], float] = seconds_since_boot) -> None:
        self._store = store
        self._push = push
        self._clock = clock
        self._seen: float | None = None
        self._looking = asyncio.Lock()

    async def pass_through(self) -> None:
        """Return if the lease is ours, by a look that is not too old; raises `LeaseLost` if another push took over."""
        if self._is_fresh():
            return
        async with self._looking:
            if self._is_fresh():  # another writer looked meanwhile
                return
            began = self._clock()
            if await self._store.read_sequence(self._push.view) != self._push.sequence:
                raise lease_lost(self._push)
            self._seen = began

    def _is_fresh(self) -> bool:
        return self._seen is not None and self._clock() - self._seen <= self._push.lease_seconds / CHECKS


def lease_lost(push: Sequenced) -> LeaseLost:
    """The error of a push that lost its lease."""
    return LeaseLost(f"view {push.view}: another push took over from sequence {push.sequence}")
