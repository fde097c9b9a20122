"""Every `TAILRACE_*` variable, its default and its meaning; the reference page of settings is made from this."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Topic = Literal[
    "Home and lake", "Spark", "Online store", "Kafka and the stream", "Airflow", "Reader", "Everything at once"
]


@dataclass(frozen=True)
class Variable:
    """One setting; `unset` says what applies where the default is empty. Meanings are Markdown, with links from `docs/`."""

    name: str
    topic: Topic
    default: str
    meaning: str
    unset: str = ""


VARIABLES = (
    Variable("TAILRACE_HOME", "Home and lake", "var", "Folder with all state."),
    Variable(
        "TAILRACE_LANDING",
        "Home and lake",
        "",
        "Folder or URI with the feeds `events/` and `documents/`.",
        unset="`$TAILRACE_HOME/landing`",
    ),
    Variable(
        "TAILRACE_LAKE",
        "Home and lake",
        "",
        "Folder or URI of the tables: `bronze/NAME`, `silver/NAME`, `gold/VIEW`.",
        unset="`$TAILRACE_HOME/lake`",
    ),
    Variable(
        "TAILRACE_FEATURES",
        "Home and lake",
        "shipped",
        "Folders of definitions, separated by `:`. `shipped` stands for those in `tailrace/shipped/`.",
    ),
    Variable(
        "TAILRACE_RETENTION_HOURS",
        "Home and lake",
        "72",
        "How long tables keep files that their newest version no longer reads. The log is kept for twice as long.",
    ),
    Variable(
        "TAILRACE_SINGLE_WRITER",
        "Home and lake",
        "0",
        "1 promises that never more than one process writes the lake. Only then may a lake on `s3a://` do without a log "
        "store that excludes other JVMs ([A lake on S3](architecture.md#a-lake-on-s3)).",
    ),
    Variable("TAILRACE_SPARK_MASTER", "Spark", "local[*]", "Where Spark runs."),
    Variable("TAILRACE_SPARK_MEMORY", "Spark", "3g", "Memory of Spark's driver."),
    Variable(
        "TAILRACE_SPARK_JAVA_OPTIONS",
        "Spark",
        # Fewer processor seconds than the JVM's own choice; room for the classes that Spark generates.
        "-XX:+UseParallelGC -XX:MetaspaceSize=512m -XX:ReservedCodeCacheSize=512m",
        "Options of the driver's JVM: a parallel collector, and more room for generated code. They win over Tailrace's "
        "own: `-XX:TieredStopAtLevel=1` for the stream, which also interprets its plans, and for commands on a home "
        "whose landed files and tables are on this machine and take at most 32 MiB "
        "([why](adr/0006-small-refreshes.md)).",
    ),
    Variable("TAILRACE_SHUFFLE_PARTITIONS", "Spark", "4", "For local use; raise it on a cluster."),
    Variable(
        "TAILRACE_JARS",
        "Spark",
        "",
        "Folder of Delta's JARs.",
        unset="`jars` among [the downloads](../installing.md#downloads)",
    ),
    Variable(
        "TAILRACE_STORE_URL",
        "Online store",
        "",
        "Any DynamoDB-compatible endpoint. Credentials for AWS come from its default chain, with dual-stack and FIPS "
        "endpoints. Other endpoints take `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or a stand-in. With a Spark "
        "master other than `local[…]`, executors must reach the store: the embedded store, and any other loopback "
        "address, is refused before Spark starts.",
        unset="the embedded store",
    ),
    Variable("TAILRACE_STORE_TABLE", "Online store", "tailrace", "Table of the store."),
    Variable(
        "TAILRACE_ENVIRONMENT",
        "Online store",
        "",
        "Name of the environment that the home belongs to, such as `production`. The first home that writes a table marks "
        "it with its name; homes of another name, or of none, are then refused before they write anything. Each "
        "environment has a table of its own ([why](adr/0026-a-table-is-of-one-environment.md)).",
        unset="none: tables that no environment has marked",
    ),
    Variable("TAILRACE_STORE_REGION", "Online store", "us-east-1", "Region of the store."),
    Variable(
        "TAILRACE_STORE_BINARY",
        "Online store",
        "",
        "Program of the embedded store.",
        unset="`dynoxide` among [the downloads](../installing.md#downloads)",
    ),
    Variable("TAILRACE_STORE_IN_FLIGHT", "Online store", "4", "Requests that one task keeps in flight."),
    Variable(
        "TAILRACE_STORE_WRITES",
        "Online store",
        "",
        "How a push writes. `transactions`: up to 99 rows in a transaction that checks the lease. `updates`: each row "
        "in a conditional update of its own, which costs half as much on DynamoDB.",
        unset="`transactions` for the embedded store, `updates` for others",
    ),
    Variable("TAILRACE_LEASE_SECONDS", "Online store", "30", "How long a push that died blocks its view."),
    Variable(
        "TAILRACE_KAFKA",
        "Kafka and the stream",
        "",
        "Kafka's servers, as `host:port,host:port`.",
        unset="none: sources with `Kafka()` are read from their folders, and one that names a topic is refused",
    ),
    Variable(
        "TAILRACE_KAFKA_TOPIC",
        "Kafka and the stream",
        "events",
        "Topic of sources with `Kafka()` without a name, such as the shipped `events`.",
    ),
    Variable(
        "TAILRACE_KAFKA_PROPERTIES",
        "Kafka and the stream",
        "",
        "File of Kafka's client properties, for [authentication and TLS](streaming.md#authentication-and-tls). Only "
        "processes that read Kafka open it.",
        unset="none: plaintext, without a password",
    ),
    Variable(
        "TAILRACE_KAFKA_PORT",
        "Kafka and the stream",
        "19092",
        "Loopback port of the broker that `tailrace stream broker` and `make up STREAMING=1` run. Its controller takes "
        "the next port.",
    ),
    Variable(
        "TAILRACE_STREAMING",
        "Kafka and the stream",
        "0",
        "1: `tailrace up` starts the stream too, and Airflow keeps it running.",
    ),
    Variable("TAILRACE_REFRESH_MINUTES", "Airflow", "15", "Interval of refreshes; it divides an hour."),
    Variable("TAILRACE_DEADLINE_MINUTES", "Airflow", "15", "After how long a refresh counts as late; 0: never."),
    Variable(
        "TAILRACE_ALERTS",
        "Airflow",
        "",
        "Function that receives failures and late runs as one text, as `module:function`.",
        unset="only the log",
    ),
    Variable(
        "TAILRACE_APPLICATION_PER",
        "Airflow",
        "layer",
        "Share of gold and of the push that one Spark application does: a `layer`, or the views that go together "
        "(`view`).",
    ),
    Variable(
        "TAILRACE_READER_BUDGET_MS",
        "Reader",
        "500",
        "How long a request may take without a header `Tailrace-Budget-Ms`.",
    ),
    Variable(
        "TAILRACE_READER_AT_ONCE",
        "Reader",
        "64",
        "Small requests that a reader process works on concurrently, and as many writes: "
        "[How much at a time](reader.md#how-much-at-a-time).",
    ),
    Variable(
        "TAILRACE_READER_CACHE_SECONDS",
        "Reader",
        "0",
        "Maximal age of a value that a reader process answers without asking the store; 0: always ask.",
    ),
    Variable(
        "TAILRACE_READER_KEYS",
        "Reader",
        "",
        "File of the rankers' API keys, made by `tailrace keys add`.",
        unset="none",
    ),
    Variable("TAILRACE_READER_ISSUER", "Reader", "", "OIDC issuer whose tokens the reader accepts.", unset="none"),
    Variable("TAILRACE_READER_AUDIENCE", "Reader", "", "Audience that tokens must name.", unset="none"),
    Variable(
        "TAILRACE_READER_JWKS", "Reader", "", "Address of the issuer's keys.", unset="from the issuer's configuration"
    ),
    Variable("TAILRACE_READER_TLS_CERT", "Reader", "", "The reader's certificate, in PEM.", unset="none: plain HTTP"),
    Variable(
        "TAILRACE_READER_TLS_KEY", "Reader", "", "The certificate's private key, in PEM.", unset="none: plain HTTP"
    ),
    Variable(
        "TAILRACE_READER_ACCESS_LOG",
        "Reader",
        "refused",
        "Requests that get a line in the access log: `refused` (status 400 and above), `all` or `off`.",
    ),
    Variable(
        "TAILRACE_READER_DRAIN_SECONDS",
        "Reader",
        "0",
        "How long a stopping reader reports that it is not ready, and still serves.",
    ),
    Variable(
        "TAILRACE_READER_OTEL",
        "Reader",
        "0",
        "1 sends spans of requests to OpenTelemetry, configured by the variables `OTEL_*`.",
    ),
    Variable("TAILRACE_AIRFLOW_PORT", "Everything at once", "8080", "`make up`: loopback port of Airflow."),
    Variable("TAILRACE_READER_PORT", "Everything at once", "6566", "`make up`: loopback port of the reader."),
    Variable("TAILRACE_READER_WORKERS", "Everything at once", "1", "`make up`: worker processes of the reader."),
)

DEFAULTS: Mapping[str, str] = {variable.name: variable.default for variable in VARIABLES}
