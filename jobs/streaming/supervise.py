"""The stream followed whatever passes: kinds of failure, restarts, heartbeat."""

import builtins
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from importlib import import_module
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import StreamingQueryException
from pyspark.sql.streaming.query import StreamingQuery

from jobs.bronze.topic import Ends, KafkaAway
from jobs.streaming import heartbeat
from jobs.streaming.source import Readable
from tailrace.errors import DataError, TailraceError
from tailrace.schemas.landing import LandingError

OF_PRODUCT = ("tailrace.", "jobs.", "sinks.")  # packages whose errors a query may meet
OF_JVM = ("java.", "javax.", "org.", "scala.", "py4j.", "pyspark.")  # Kafka's client and Spark, here or through Python

LOST = re.compile(r"KAFKA_DATA_LOSS|failOnDataLoss")  # the topic was made anew, or has lost what was not consumed yet
RAISED = re.compile(
    r"^(?:: |Caused by: )?((?:[a-z_]\w*\.)+(?=[A-Z]\w+: )|(?=\w+(?:Error|Exception): ))([A-Z]\w+): (.+)$", re.MULTILINE
)
WRAPPER = "Exception thrown in awaitResult"  # Spark's words around the cause
READ = re.compile(r"\[FAILED_READ_FILE[^]]*\] Encountered error while reading file (\S+?)\.?\s")
TERMINATED = re.compile(r"^\[STREAM_FAILED\].*? terminated with exception: ")


class Kind(Enum):
    """What another try may do about a failure.

    `OUTAGE`: the store or Kafka is away, or somebody holds a lease, and it passes. `LASTING`: it is met again each time.
    `DATA`: the micro-batch holds what cannot be read, and unless it changes, that is met again.
    """

    OUTAGE = "outage"
    LASTING = "lasting"
    DATA = "data"


@dataclass(frozen=True)
class Failure:
    """What failed, in a line, and of which kind it is."""

    why: str
    kind: Kind


def failure_of(error: Exception) -> Failure:
    """What ended a query: by the error's class or, as Spark has it, by its text; an unknown error counts as an outage."""
    if isinstance(error, TailraceError):
        return Failure(str(error), Kind.OUTAGE if error.retryable else Kind.LASTING)
    text = str(error)
    raised = [(of, name, why) for of, name, why in RAISED.findall(text) if not why.startswith(WRAPPER)]
    of, name, why = raised[-1] if raised else ("", "", TERMINATED.sub("", text.strip()).split("\n")[0])
    why = why or type(error).__name__
    own = class_named(of, name)
    if LOST.search(text) or (own and not own.retryable):
        return Failure(why, Kind.LASTING)
    if read := READ.search(text):
        return Failure(f"{read[1]} cannot be read: {why}", Kind.DATA)
    return Failure(why, Kind.OUTAGE if own or may_pass(of, name) else Kind.DATA)


def class_named(package: str, name: str) -> type[TailraceError] | None:
    """The product's error of this name, if it is one: Spark hands on errors of Python as text."""
    if not package.startswith(OF_PRODUCT):
        return None
    try:
        found = getattr(import_module(package.removesuffix(".")), name, None)
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, TailraceError) else None


def may_pass(package: str, name: str) -> bool:
    """Whether another error may be one of the store, of Kafka, or of the network between; the rest are our own code's."""
    if not name or package.startswith(OF_JVM):
        return True
    builtin = None if package else getattr(builtins, name, None)
    return isinstance(builtin, type) and issubclass(builtin, OSError)


log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
WRITE_SECONDS = 1.0
TEND_SECONDS = 3.0
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0

TRIES = 5  # of a micro-batch that holds what cannot be read: a file may have been changed as it was read
NO_OUTAGE = (
    "a micro-batch failed {} times, and no store or Kafka was away: {}; the log has where, and what it names has to go"
)

# `failure_of` says after which of these the query begins again. A JVM that has died is not among them.
FAILURES = (StreamingQueryException, Py4JJavaError, TailraceError)


class StreamFailed(DataError):
    """The stream met what does not pass by itself; the message says what."""


class Pulse:
    """Looks at the query, records how far it is, and has the store looked after.

    `tend` is called every few seconds, with the moment up to which all is readable while nothing comes, or else None;
    `ends` just as often, for those of a topic. `listed` says up to when a folder is known, None where there is none.
    """

    def __init__(
        self,
        home: Path,
        *,
        tend: Callable[[float | None], None],
        ends: Callable[[], Mapping[int, Ends]] = dict,
        listed: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._home = home
        self._tend, self._ends, self._listed = tend, ends, listed
        self._readable = Readable()
        self._written = self._tended = 0.0
        self.heartbeat = heartbeat.first_heartbeat(heartbeat.read_heartbeat(home), now=time.time())
        heartbeat.write_heartbeat(home, self.heartbeat)

    def watch(self, query: StreamingQuery) -> None:
        """Look until the query ends; raises what ended it."""
        while not query.awaitTermination(LOOK_SECONDS):  # type: ignore[arg-type]  # seconds, and parts of them
            self.look(query)
            self.write_heartbeat()

    def look(self, query: StreamingQuery) -> None:
        now, status, last = time.time(), query.status, query.lastProgress
        progress = None if last is None else json.loads(last.json)
        self.heartbeat = heartbeat.look(self.heartbeat, progress, status, now=now, bound=self.bound)
        if time.monotonic() - self._tended >= TEND_SECONDS:
            self.tend(now if heartbeat.is_waiting(status) else None)
            self._tended = time.monotonic()

    @property
    def bound(self) -> float | None:
        """Up to when the source can be read; None for all of it."""
        return self._listed() if self._readable.bound is None else self._readable.bound

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
        except (KafkaAway, LandingError) as error:
            self.stand_still(error)
            caught_up_to = None
        known = (moment for moment in (caught_up_to, self.bound) if moment is not None)
        try:
            self._tend(None if caught_up_to is None else min(known))
        except TailraceError as error:
            if not error.retryable:
                raise
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
        heartbeat.write_heartbeat(self._home, self.heartbeat)

    def write_heartbeat(self) -> None:
        if time.monotonic() - self._written >= WRITE_SECONDS:
            heartbeat.write_heartbeat(self._home, self.heartbeat)
            self._written = time.monotonic()

    def rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.write_heartbeat()
            time.sleep(LOOK_SECONDS)


def keep_following(begin: Callable[[], StreamingQuery], pulse: Pulse) -> None:
    """Have a query run until it is stopped; raises `StreamFailed`, or an error of our own, where beginning again does not help."""
    delay, tries = FIRST_DELAY, 0
    while True:
        try:
            watch(begin(), pulse)
            return
        except FAILURES as error:
            if pulse.heartbeat.failing_since is None:
                delay, tries = FIRST_DELAY, 0
            failure = failure_of(error)
            tries += failure.kind is Kind.DATA
            if failure.kind is Kind.LASTING or tries == TRIES:
                why = failure.why if failure.kind is Kind.LASTING else NO_OUTAGE.format(TRIES, failure.why)
                pulse.end(why)
                if isinstance(error, TailraceError):
                    raise
                raise StreamFailed(why) from error
            log.warning("the stream failed, and begins again in %g s: %s", delay, failure.why)
            pulse.fail(failure.why)
        pulse.rest(delay)
        delay = min(2 * delay, LONGEST_DELAY)


def watch(query: StreamingQuery, pulse: Pulse) -> None:
    try:
        pulse.watch(query)
    finally:
        query.stop()
