"""What ended the stream's query: an outage that passes, something that lasts, or what a micro-batch holds."""

import builtins
import re
from dataclasses import dataclass
from enum import Enum
from importlib import import_module

from tailrace.errors import TailraceError

OF_PRODUCT = ("tailrace.", "jobs.", "sinks.")  # packages whose errors a query may meet
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
