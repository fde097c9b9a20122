"""Times of events: read as landing files may write them, and written many at once."""

import re
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tailrace.schemas import landing

TIME = re.compile(landing.TIME)


def to_texts(micros: NDArray[np.int64]) -> list[str]:
    """Write microseconds since 1970, each as `tailrace.schemas.slots.to_text` writes one."""
    texts: list[str] = np.datetime_as_string(micros.astype("datetime64[us]"), unit="us").tolist()
    return [text.removesuffix(".000000") + "Z" for text in texts]


def from_text(text: object) -> datetime | None:
    """Read a time as landing files may write it, without an offset as UTC; None for anything else."""
    if not isinstance(text, str) or not TIME.fullmatch(text):
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):  # a 31st of February; a year below 1 or above 9999 once in UTC
        return None
