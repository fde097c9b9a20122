"""Bronze: what landed, as it landed, each delivery once."""

from collections.abc import Iterable

from tailrace.schemas.expectations import Expectation
from tailrace.schemas.tables import Column, Table, Type

FEED = Column("feed", Type.STRING, "the source of the file, or direct_writes", nullable=False)
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


def landed_table(name: str, facts: Iterable[Column], *, expectations: Iterable[Expectation] = ()) -> Table:
    """The bronze table of a feed: a row for each delivery of a line, its `facts` as they landed."""
    return Table(
        layer="bronze",
        name=name,
        fields=(*facts, *DELIVERY),
        key=("file", "line", "batch"),
        statistics=("batch",),
        expectations=tuple(expectations),
    )


DIRECT_WRITES = landed_table(
    "direct_writes",
    (
        Column("view", Type.STRING, "the view that the values are of", nullable=False),
        Column("keys", Type.STRING, "the entity key as a JSON object of ids", nullable=False),
        Column("occurred_at", Type.TIMESTAMP, "the time that the values hold from", nullable=False),
        Column("revision", Type.INT64, "given by the store; of equal times the newer wins", nullable=False, minimum=0),
        Column("values", Type.STRING, "the features as a JSON object; null where the key was removed"),
        Column("accepted_at", Type.TIMESTAMP, "when the write came", nullable=False),
        Column("acknowledged_at", Type.TIMESTAMP, "when the store was known to have it; null where no version said so"),
    ),
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

# Tables of every home; each source that is declared has one more.
TABLES = (DIRECT_WRITES, QUARANTINE, FILES, SET_ASIDE)


def table_named(full_name: str) -> Table:
    """A table of bronze by its name only, whether a source declares it or not."""
    return Table(layer="bronze", name=full_name.removeprefix("bronze."), fields=(), key=())
