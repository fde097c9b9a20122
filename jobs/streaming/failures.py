"""What ended the stream's query: an outage that passes, something that lasts, or what a micro-batch holds."""

import builtins
import re
from dataclasses import dataclass
from enum import Enum

from jobs.bronze.batches import LandingError
from jobs.bronze.topic import KafkaAway
from jobs.streaming.leases import StoreLost
from jobs.streaming.parked import RefusedByStore
from jobs.streaming.values import OtherDefinition
from sinks.lease import PushUnderWay
from tailrace.definitions import DefinitionError
from tailrace.store.codec import CodecError
from tailrace.store.control import LeaseLost
from tailrace.store.dynamodb.wire import StoreError
from tailrace.store.embedded import EmbeddedStoreError
from tailrace.store.lanes import OtherLane

# What another try meets again; Spark tells errors of Python only by their names, in its text.
LASTING = (CodecError, DefinitionError, LandingError, OtherDefinition, OtherLane, StoreLost)
LASTING_NAMES = frozenset(error.__name__ for error in LASTING)
OUTAGES = (EmbeddedStoreError, KafkaAway, LeaseLost, PushUnderWay, RefusedByStore, StoreError)
OUTAGE_NAMES = frozenset(error.__name__ for error in OUTAGES)
OF_JVM = ("java.", "javax.", "org.", "scala.", "py4j.", "pyspark.")  # Kafka's client and Spark, here or through Python

LOST = re.compile(r"KAFKA_DATA_LOSS|failOnDataLoss")  # the topic was made anew, or has lost what was not taken yet
RAISED = re.compile(
    r"^(?:: |Caused by: )?((?:[a-z_]\w*\.)+(?=[A-Z]\w+: )|(?=\w+(?:Error|Exception): ))([A-Z]\w+): (.+)$", re.MULTILINE
)
WRAPPER = "Exception thrown in awaitResult"  # Spark's words around the cause
READ = re.compile(r"\[FAILED_READ_FILE[^]]*\] Encountered error while reading file (\S+?)\.?\s")
TERMINATED = re.compile(r"^\[STREAM_FAILED\].*? terminated with exception: ")


class Kind(Enum):
    """What another try may do about a failure.

    `OUTAGE`: the store or Kafka is away, or somebody holds a lease, and it passes. `LASTING`: it is met again each time.
    `DATA`: the micro-batch holds what cannot be taken, and unless it changes, that is met again.
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
    """What ended a query, by the text that Spark has of it; what is not known is taken for an outage."""
    text = str(error)
    raised = [(of, name, why) for of, name, why in RAISED.findall(text) if not why.startswith(WRAPPER)]
    of, name, why = raised[-1] if raised else ("", "", TERMINATED.sub("", text.strip()).split("\n")[0])
    why = why or type(error).__name__
    if name in LASTING_NAMES or LOST.search(text):
        return Failure(why, Kind.LASTING)
    if read := READ.search(text):
        return Failure(f"{read[1]} cannot be read: {why}", Kind.DATA)
    return Failure(why, Kind.OUTAGE if may_pass(of, name) else Kind.DATA)


def may_pass(package: str, name: str) -> bool:
    """Whether an error may be one of the store, of Kafka, or of the network between; others are our own code's, at data."""
    if not name or name in OUTAGE_NAMES or package.startswith(OF_JVM):
        return True
    builtin = None if package else getattr(builtins, name, None)
    return isinstance(builtin, type) and issubclass(builtin, OSError)
