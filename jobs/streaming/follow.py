"""Follow a source for good: the query begins again after what passes, and the process tells how far it is."""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import StreamingQueryException
from pyspark.sql.streaming.query import StreamingQuery

from features.language import DefinitionError
from jobs.bronze.batches import LandingError
from jobs.bronze.topic import Ends, KafkaAway
from jobs.streaming import progress
from jobs.streaming.leases import StoreLost
from jobs.streaming.transactions import Readable
from jobs.streaming.values import OtherDefinition
from online.codec import CodecError
from online.embedded import EmbeddedStoreError
from online.lanes import OtherLane
from online.wire import StoreError

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
TELL_SECONDS = 1.0
TEND_SECONDS = 3.0
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0

# What may pass: the store or Kafka is away, or somebody holds a lease. A JVM that has died is not among them.
PASSING = (StreamingQueryException, Py4JJavaError, KafkaAway, StoreError, EmbeddedStoreError)
# What another try meets again; Spark tells errors of Python only by their names, in its text.
LASTING = (CodecError, DefinitionError, LandingError, OtherDefinition, OtherLane, StoreLost)
LASTING_NAMES = frozenset(error.__name__ for error in LASTING)
LOST = re.compile(r"KAFKA_DATA_LOSS|failOnDataLoss")  # the topic was made anew, or has lost what was not taken yet
RAISED = re.compile(r"^(?:: )?(?:[a-z_]\w*\.)+([A-Z]\w+): (.+)$", re.MULTILINE)
TERMINATED = re.compile(r"^\[STREAM_FAILED\].*? terminated with exception: ")


class StreamFailed(Exception):
    """The stream met what does not pass by itself; the message says what."""


class Pulse:
    """Looks at the query, tells how far it is, and has the store looked after.

    `tend` is called every few seconds, with the moment up to which all is readable while nothing comes, or else None;
    `ends` just as often, for those of a topic.
    """

    def __init__(
        self, home: Path, *, tend: Callable[[float | None], None], ends: Callable[[], Mapping[int, Ends]] = dict
    ) -> None:
        self._home = home
        self._tend, self._ends = tend, ends
        self._readable = Readable()
        self._told = self._tended = 0.0
        self.heartbeat = progress.first_heartbeat(progress.read(home), now=time.time())
        progress.write(home, self.heartbeat)

    def watch(self, query: StreamingQuery) -> None:
        """Look until the query ends; raises what ended it."""
        while not query.awaitTermination(LOOK_SECONDS):  # type: ignore[arg-type]  # seconds, and parts of them
            self.look(query)
            self.tell()

    def look(self, query: StreamingQuery) -> None:
        now, status, last = time.time(), query.status, query.lastProgress
        told = None if last is None else json.loads(last.json)
        self.heartbeat = progress.look(self.heartbeat, told, status, now=now, bound=self.bound)
        if time.monotonic() - self._tended >= TEND_SECONDS:
            self.tend(now if progress.is_waiting(status) else None)
            self._tended = time.monotonic()

    @property
    def bound(self) -> float | None:
        """Up to when the source can be read; None for all of it."""
        return self._readable.bound

    def look_for_transactions(self) -> None:
        """Note what waits behind open transactions, and say so once each time that they stay open."""
        was_open, at = self._readable.bound is not None, time.time()
        self._readable.look(self._ends(), at=at)
        waiting = (
            self._readable.waiting if was_open else 0
        )  # at two looks: a transaction is open for a moment as a rule
        if bool(waiting) != bool(self.heartbeat.waiting):
            log.warning("%d messages wait behind open transactions of their producers", waiting)
        self.heartbeat = replace(self.heartbeat, waiting=waiting)

    def tend(self, caught_up_to: float | None) -> None:
        try:
            self.look_for_transactions()
        except LandingError as error:
            self.stand_still(error)
            caught_up_to = None
        known = (moment for moment in (caught_up_to, self.bound) if moment is not None)
        try:
            self._tend(None if caught_up_to is None else min(known))
        except (StoreError, EmbeddedStoreError) as error:
            self.stand_still(error)
        else:
            if caught_up_to is not None:
                self.heartbeat = self.heartbeat.well()

    def stand_still(self, error: Exception) -> None:
        if self.heartbeat.failing_since is None:
            log.warning("the watermarks stand still: %s", error)
        self.fail(str(error))

    def fail(self, why: str) -> None:
        self.heartbeat = self.heartbeat.failing(why, now=time.time())

    def end(self, why: str) -> None:
        """Leave word of what ended the process."""
        self.fail(why)
        progress.write(self._home, self.heartbeat)

    def tell(self) -> None:
        if time.monotonic() - self._told >= TELL_SECONDS:
            progress.write(self._home, self.heartbeat)
            self._told = time.monotonic()

    def rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tell()
            time.sleep(LOOK_SECONDS)


def follow(begin: Callable[[], StreamingQuery], pulse: Pulse) -> None:
    """Have a query run until it is stopped; raises `StreamFailed` where beginning again is no use."""
    delay = FIRST_DELAY
    while True:
        try:
            watch(begin(), pulse)
            return
        except PASSING as error:  # before what lasts: a Kafka that is away is a LandingError too
            why, passes = cause_of(error)
            if not passes:
                pulse.end(why)
                raise StreamFailed(why) from error
            if pulse.heartbeat.failing_since is None:
                delay = FIRST_DELAY
            log.warning("the stream failed, and begins again in %g s: %s", delay, why)
            pulse.fail(why)
        except LASTING as error:
            pulse.end(str(error))
            raise
        pulse.rest(delay)
        delay = min(2 * delay, LONGEST_DELAY)


def watch(query: StreamingQuery, pulse: Pulse) -> None:
    try:
        pulse.watch(query)
    finally:
        query.stop()


def cause_of(error: Exception) -> tuple[str, bool]:
    """What failed, in a line, and whether it may pass by itself; what cannot be told may."""
    text = str(error)
    raised = RAISED.findall(text)
    kind, told = raised[-1] if raised else ("", TERMINATED.sub("", text.strip()).split("\n")[0])
    return told or type(error).__name__, kind not in LASTING_NAMES and not LOST.search(text)
