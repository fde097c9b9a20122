"""Which failures of a query are outages, which last, and which are of what a micro-batch holds."""

import pytest
from pyspark.errors import StreamingQueryException

from jobs.backfill import BackfillError
from jobs.bronze.topic import KafkaAway
from jobs.gold.compute import TransformError
from jobs.streaming.checkpoint import RefusedByStore
from jobs.streaming.supervise import Kind, failure_of
from tailrace.definitions import DefinitionError
from tailrace.errors import UnexpectedError
from tailrace.lake.delta_log import Overtaken
from tailrace.lake.tables import LakeError
from tailrace.schemas.ids import NotAnIdError
from tailrace.schemas.landing import LandingError
from tailrace.settings import SettingsError
from tailrace.store.control import LeaseLost, OtherLane
from tailrace.store.dynamodb.connections import CredentialsError
from tailrace.store.failures import StoreError

FILE = "file:///landing/events/b-cut.jsonl.gz"
TERMINATED = "[STREAM_FAILED] Query [id = 5a, runId = c2] terminated with exception: "
QUERY = """
=== Streaming Query ===
Identifier: tailrace [id = 5a, runId = c2]
Current Committed Offsets: {{}}
"""
OF_PYTHON = f"""{TERMINATED}[FOREACH_BATCH_USER_FUNCTION_ERROR] An error occurred. Return Message: Traceback (most recent call last):
  File "wire.py", line 124, in send
ConnectionRefusedError: [Errno 111] Connect call failed

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "lease.py", line 39, in with_client
{{}}
    at py4j.Protocol.getReturnValue(Protocol.java:476)
{QUERY}"""
OF_JAVA = """py4j.protocol.Py4JJavaError: An error occurred while calling o97.collectToPython.
: org.apache.spark.SparkException: Exception thrown in awaitResult: {}
\tat org.apache.spark.util.SparkThreadUtils$.awaitResult(SparkThreadUtils.scala:53)
Caused by: {}
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.cannotReadFilesError(QueryExecutionErrors.scala:856)
Caused by: {}
\tat org.apache.hadoop.io.compress.DecompressorStream.decompress(DecompressorStream.java:165)"""
UNREAD = f"org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] Encountered error while reading file {FILE}.  SQLSTATE: KD001"

TIMED_OUT = OF_JAVA.format("", "org.apache.kafka.common.errors.TimeoutException: t", "java.io.IOException: t")
DAMAGED = OF_JAVA.format("", UNREAD, "java.io.EOFException: Unexpected end of input stream")
OF_MICRO_BATCH = {
    Kind.OUTAGE: {
        "the store": "tailrace.store.dynamodb.calls.StoreError: online store: Unreachable: http://127.0.0.1:1",
        "the embedded store": "tailrace.store.embedded.EmbeddedStoreError: the store did not start",
        "Kafka": "jobs.bronze.topic.KafkaAway: Kafka at kafka:9092 does not tell of topic events",
        "another push": "tailrace.store.lease.PushUnderWay: view a: another push",
        "a lost lease": "tailrace.store.control.LeaseLost: view a: the lease went to another",
        "a store that refuses all": "jobs.streaming.checkpoint.RefusedByStore: view a: the store refuses 500 rows",
        "the network": "ConnectionResetError: [Errno 104] Connection reset by peer",
        "a full disk": "OSError: [Errno 28] No space left on device",
        "a timeout": "TimeoutError: timed out",
        "Kafka's client": TIMED_OUT,
    },
    Kind.LASTING: {
        "another lane": "tailrace.store.control.OtherLane: view a: its values are those of the lane batch",
        "another layout": "tailrace.store.codec.CodecError: view a: values of another layout",
        "a definition": "tailrace.errors.DefinitionError: view a has no key",
        "a topic made anew": "tailrace.schemas.landing.LandingError: the topic was made anew",
        "a lost store": "jobs.streaming.micro_batch.StoreLost: the store has nothing of pairs",
        "another definition": "jobs.streaming.fast_path.OtherDefinition: view a was defined otherwise",
    },
    Kind.DATA: {
        "a large number": "OverflowError: int too big to convert",
        "other bytes": "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe9",
        "a missing column": "KeyError: 'at'",
        "a time": "ValueError: year 0 is out of range",
        "an error that the product no longer has": "tailrace.store.dynamodb.calls.NoSuchError: gone",
        "a module that the product no longer has": "tailrace.no_such_module.StoreError: gone",
        "Arrow": "pyarrow.lib.ArrowInvalid: Invalid UTF8 payload",
        "a damaged file": DAMAGED,
    },
}
CASES = {name: (OF_PYTHON.format(raised), kind) for kind, of in OF_MICRO_BATCH.items() for name, raised in of.items()}
CASES |= {
    "Kafka, of Spark": (f"{TERMINATED}Timed out waiting for a node assignment{QUERY}", Kind.OUTAGE),
    "messages lost": (f"{TERMINATED}[KAFKA_DATA_LOSS.X] Some data may have been lost", Kind.LASTING),
}


@pytest.mark.parametrize(("text", "kind"), CASES.values(), ids=CASES)
def test_only_what_may_be_of_the_store_or_of_kafka_is_an_outage(text, kind):
    assert failure_of(StreamingQueryException(text)).kind is kind


def test_a_file_that_cannot_be_read_is_named_with_the_cause_below_sparks_own_words():
    failure = failure_of(StreamingQueryException(OF_PYTHON.format(DAMAGED)))

    assert failure.why == f"{FILE} cannot be read: Unexpected end of input stream"


@pytest.mark.parametrize(
    "kind",
    [
        BackfillError,
        SettingsError,
        CredentialsError,
        DefinitionError,
        TransformError,
        LandingError,
        NotAnIdError,
        LakeError,
        LeaseLost,
        Overtaken,
        OtherLane,
        StoreError,
        KafkaAway,
        RefusedByStore,
        UnexpectedError,
    ],
)
def test_an_error_of_the_product_is_what_its_class_says_as_text_of_spark_and_by_itself(kind):
    expected = Kind.OUTAGE if kind.retryable else Kind.LASTING
    error = kind.__new__(kind, "why")  # as it is made does not matter

    assert (
        failure_of(StreamingQueryException(OF_PYTHON.format(f"{kind.__module__}.{kind.__name__}: why"))).kind
        is expected
    )
    assert failure_of(error).kind is expected
