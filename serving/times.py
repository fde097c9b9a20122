"""Times as the answers tell them."""

import numpy as np

from serving.columns import Array

# The serialiser's own range ends a few hours before the year 9999 does; what is beyond is told by numpy.
LAST_FAST = np.datetime64("9999-12-30", "us")
FIRST_FAST = np.datetime64("0001-01-01", "us")


def to_json_times(times: Array) -> Array | list[str]:
    """What the serialiser turns into UTC texts: datetime64[us] as they are, or where it cannot take one, texts."""
    if not len(times) or (times.min() >= FIRST_FAST and times.max() <= LAST_FAST):
        return times
    return [text.removesuffix(".000000") + "Z" for text in np.datetime_as_string(times).tolist()]
