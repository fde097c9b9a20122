"""Times as answers spell them."""

import numpy as np

from serving.read.columns import Array

# The serialiser's own range ends a few hours before the year 9999 does; numpy formats times beyond.
FIRST_FAST = -62_135_596_800_000_000  # 0001-01-01
LAST_FAST = 253_402_128_000_000_000  # 9999-12-30


def to_json_times(times: Array) -> Array | list[str]:
    """What the serialiser turns into UTC texts: datetime64[us] as they are, or where it cannot take one, texts."""
    micros = times.view(np.int64)
    if not len(times) or (micros.min() >= FIRST_FAST and micros.max() <= LAST_FAST):
        return times
    return [text.removesuffix(".000000") + "Z" for text in np.datetime_as_string(times).tolist()]
