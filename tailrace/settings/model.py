"""The settings: where state lives, how Spark runs, which online store is written and read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Writes = Literal["transactions", "updates"]
WRITES: tuple[Writes, ...] = get_args(Writes)

Scope = Literal["layer", "view"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

AccessLogging = Literal["off", "refused", "all"]
ACCESS_LOGGING: tuple[AccessLogging, ...] = get_args(AccessLogging)


@dataclass(frozen=True, kw_only=True)
class SparkSettings:
    """How the Spark session is built; ignored where a cluster manager already decided.

    `class_archive` is made by `tailrace/local/class_archive.py`, and used where it is there.
    """

    master: str
    driver_memory: str
    java_options: str
    shuffle_partitions: int
    jars: Path
    class_archive: Path
    kafka_jars: Path | None = None  # what Spark needs to read Kafka, where there is one


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """The DynamoDB-compatible store; `url` is None for the embedded store of this home.

    `writes` is how a push writes: rows in transactions that check the lease, or each row in an update of its own.
    `environment` is whose table it has to be, empty where homes are not told apart.
    """

    url: str | None
    table: str
    region: str
    binary: Path
    lease_seconds: float
    in_flight: int
    writes: Writes
    environment: str = ""


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """Where the stream's events are: servers of Kafka and a topic, or the landing feed where `kafka` is None.

    `properties` is the file of Kafka's client properties, which may hold secrets: it is read by who asks Kafka.
    `enabled` is whether `tailrace up` starts the stream too, and Airflow keeps it running.
    `broker_port` and `broker_jars` are of the broker that runs on this machine for tests and local use.
    """

    kafka: str | None
    topic: str
    properties: Path | None
    enabled: bool
    broker_port: int
    broker_jars: Path


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """How Airflow runs refreshes: every so many minutes, late after so many (0: never), and whom it alerts.

    `alerts` is a function of one text, as `module:function`; None only logs. `application_per` is what one Spark
    application of gold and of the push does: a layer, or the views that go together.
    """

    refresh_minutes: int
    deadline_minutes: float
    alerts: str | None
    application_per: Scope


@dataclass(frozen=True, kw_only=True)
class IssuerSettings:
    """Whose tokens the reader takes, for which audience, and where the keys are, unless the issuer says so itself."""

    url: str
    audience: str
    jwks: str | None


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """Who may ask the reader: holders of a key in the file `keys`, and of a token from the issuer."""

    keys: Path | None
    issuer: IssuerSettings | None


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """The files of the reader's certificate, with those that vouch for it, and of its private key; both in PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, kw_only=True)
class ReaderSettings:
    """Limits of one process of the reader: milliseconds for a request that names none, and requests at once.

    `cache_seconds` is how old an item may be that is answered without asking the store; 0 asks always.
    `access` says whom it answers, `tls` with which certificate; None is plain HTTP.
    `access_log` says which requests are logged, `drain_seconds` how long the reader says that it is not ready before it
    stops, `traces` whether requests are traced with OpenTelemetry.
    """

    budget_ms: float
    at_once: int
    cache_seconds: float
    access: AccessSettings
    tls: TlsSettings | None
    access_log: AccessLogging
    drain_seconds: float
    traces: bool


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """The services that `tailrace up` starts on this machine, and their ports of loopback."""

    airflow_port: int
    reader_port: int
    reader_workers: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One home: its landing folder, lake, online store and definitions.

    `retention_hours` is how long tables keep what their newest version no longer reads. `single_writer` says that never
    more than one process writes the lake.
    """

    home: Path
    landing: str
    lake: str
    retention_hours: float
    single_writer: bool
    features: tuple[str, ...]
    spark: SparkSettings
    store: StoreSettings
    stream: StreamSettings
    schedule: ScheduleSettings
    reader: ReaderSettings
    local: LocalSettings

    @property
    def direct_log(self) -> Path:
        """Where processes of this machine log direct writes until they are landed."""
        return self.home / "direct-log"

    @property
    def run_folder(self) -> Path:
        """Where logs of services are, and the records by which their processes are found again."""
        return self.home / "run"
