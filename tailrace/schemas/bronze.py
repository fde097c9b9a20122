"""Bronze: what landed, as it landed, each delivery once."""

from tailrace.schemas.expectations import HOLDS, expect
from tailrace.schemas.tables import Column, Table, Type

FEED = Column("feed", Type.STRING, "events, documents or direct_writes", nullable=False)
FILE = Column("file", Type.STRING, "the file's path inside its feed's landing folder", nullable=False)

DELIVERY = (
    Column(
        "delivered_at",
        Type.TIMESTAMP,
        "when the file was written, or the message appended; never after the load began",
        nullable=False,
    ),
    FILE,
    Column("line", Type.INT64, "line (JSON) or row (Parquet) within the file, from 1", nullable=False),
    Column("batch", Type.INT64, "number of the load that took the file, rising", nullable=False),
    Column("ingested_at", Type.TIMESTAMP, "when that load began", nullable=False),
)

# A later delivery replaces an earlier one: files in the order they were written, then lines in theirs. The batch
# only settles a file that was rewritten under its own name within the same millisecond.
DELIVERY_ORDER = ("delivered_at", "file", "line", "batch")

# Expectations of a batch as a whole, in addition to those of each row. Small batches say nothing of the kind.
OF_EVENTS = (
    # Deliveries come again now and then; a producer that sends one event for ever is broken.
    expect(
        "expect_column_proportion_of_unique_values_to_be_between", column="event_id", min_value=0.1, least_rows=1_000
    ),
    # A clock that was lost says 1970.
    expect(HOLDS, column="occurred_at >= '1990-01-01'", value_set=[True], mostly=0.5, least_rows=100),
)

EVENTS = Table(
    layer="bronze",
    name="events",
    fields=(
        Column("event_id", Type.STRING, "the producer's id; a re-delivery carries the same", nullable=False),
        Column("event_type", Type.STRING, "what was done, such as view or edit", nullable=False),
        Column("actor_id", Type.STRING, "who did it", nullable=False),
        Column("document_id", Type.STRING, "what it was done to", nullable=False),
        Column("occurred_at", Type.TIMESTAMP, "when it was done", nullable=False),
        Column("source", Type.STRING, "the connector that delivered it"),
        Column("attributes", Type.STRING, "further facts as a JSON object"),
        *DELIVERY,
    ),
    key=("file", "line", "batch"),
    statistics=("batch",),
    expectations=OF_EVENTS,
)

DOCUMENTS = Table(
    layer="bronze",
    name="documents",
    fields=(
        Column("document_id", Type.STRING, "the document", nullable=False),
        Column("title", Type.STRING, "its title"),
        Column("type", Type.STRING, "its kind, such as doc or pdf"),
        Column("size_bytes", Type.INT64, "its size in bytes"),
        Column("folder", Type.STRING, "the folder it lies in, separated by /"),
        Column("owner", Type.STRING, "the actor who owns it"),
        Column("updated_at", Type.TIMESTAMP, "when these facts became true"),
        *DELIVERY,
    ),
    key=("file", "line", "batch"),
    statistics=("batch",),
)

DIRECT_WRITES = Table(
    layer="bronze",
    name="direct_writes",
    fields=(
        Column("view", Type.STRING, "the view that the values are of", nullable=False),
        Column("keys", Type.STRING, "the entity key as a JSON object of ids", nullable=False),
        Column("occurred_at", Type.TIMESTAMP, "the time that the values hold from", nullable=False),
        Column("revision", Type.INT64, "given by the store; of equal times the newer wins", nullable=False),
        Column("values", Type.STRING, "the features as a JSON object; null where the key was removed"),
        Column("accepted_at", Type.TIMESTAMP, "when the write came", nullable=False),
        Column("acknowledged_at", Type.TIMESTAMP, "when the store was known to have it; null where no version said so"),
        *DELIVERY,
    ),
    key=("file", "line", "batch"),
    statistics=("batch",),
)

QUARANTINE = Table(
    layer="bronze",
    name="quarantine",
    fields=(
        FEED,
        FILE,
        Column("line", Type.INT64, "line or row within the file, from 1; null for a file refused as a whole"),
        Column("reason", Type.STRING, "why it was refused", nullable=False),
        Column("raw", Type.STRING, "the text as it landed; null for a file refused as a whole"),
        Column("batch", Type.INT64, "number of the load that met it", nullable=False),
        Column("ingested_at", Type.TIMESTAMP, "when that load began", nullable=False),
    ),
    key=("feed", "file", "line", "batch"),
    statistics=("batch",),
)

FILES = Table(
    layer="bronze",
    name="files",
    fields=(
        FEED,
        FILE,
        Column("sha256", Type.STRING, "digest of its bytes", nullable=False),
        Column("bytes", Type.INT64, "its size", nullable=False),
        Column("delivered_at", Type.TIMESTAMP, "its modification time", nullable=False),
        Column("refusal", Type.STRING, "why the file as a whole was refused; null where it was read"),
        Column("batch", Type.INT64, "number of the load that takes it", nullable=False),
        Column("ingested_at", Type.TIMESTAMP, "when that load began", nullable=False),
    ),
    key=("feed", "file", "sha256"),
    statistics=("batch",),
)

SET_ASIDE = Table(
    layer="bronze",
    name="set_aside",
    fields=(
        FEED,
        FILE,
        Column("batch", Type.INT64, "number of the load that claimed it", nullable=False),
        Column("why", Type.STRING, "why somebody left it out", nullable=False),
        Column("set_aside_at", Type.TIMESTAMP, "when", nullable=False),
    ),
    key=("feed", "file", "batch"),
    statistics=("batch",),
)

TABLES = (EVENTS, DOCUMENTS, DIRECT_WRITES, QUARANTINE, FILES, SET_ASIDE)
