"""Another process committed to the same table first, and nothing was committed: what Delta raises then, and our own error."""

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
    ProtocolChangedException,
)

from tailrace.errors import ConflictError
from tailrace.schemas.tables import Table

# In Java the others derive from DeltaConcurrentModificationException, in Python they stand beside it.
CONFLICTS = (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
    ProtocolChangedException,
)


class Overtaken(ConflictError):
    """Another writer changed the table since it was looked at, and nothing was committed; the message names it."""


def overtaken(table: Table) -> Overtaken:
    """The error of a process that came second to a table."""
    return Overtaken(
        f"{table.full_name} was changed by another writer at the same time, and nothing was committed; run again"
    )
