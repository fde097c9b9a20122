"""A file as a listing of its folder describes it."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from tailrace.schemas.slots import EARLIEST, EPOCH, LATEST


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file below a folder; `name` is its path inside that folder, `path` its full one.

    `refusal` says why it must not be opened, None where it may; `link_to` is the name of the file inside the folder that
    a link leads to.
    """

    name: str
    path: str
    bytes: int
    modified_at: datetime
    refusal: str | None = None
    link_to: str | None = None

    @property
    def pattern(self) -> str:
        """The path as Spark's readers take it: they expand patterns, so characters that have a meaning there are escaped."""
        return re.sub(r"([\\*?\[\]{}])", r"\\\1", self.path)


def time_of(milliseconds: int) -> datetime:
    """The moment so many milliseconds after 1970, or before it, brought between 1900 and 2200.

    File systems keep times that neither Python nor a table can.
    """
    first, last = ((bound - EPOCH) // timedelta(milliseconds=1) for bound in (EARLIEST, LATEST))
    return EPOCH + timedelta(milliseconds=min(max(milliseconds, first), last))
