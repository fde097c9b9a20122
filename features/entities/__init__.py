"""The former place of `tailrace.shipped.entities`, for definition files written before; it goes with the next version."""

import warnings

from tailrace.shipped.entities import ACTOR, DOCUMENT

__all__ = ["ACTOR", "DOCUMENT"]

warnings.warn(
    "`features.entities` is now `tailrace.shipped.entities`, and goes with the next version: import from there",
    DeprecationWarning,
    stacklevel=2,
)
