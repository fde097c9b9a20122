"""The former place of `tailrace.definitions`, for definition files written before; it goes with the next version."""

import warnings

from tailrace.definitions import *  # noqa: F403 - every name of before

warnings.warn(
    "`features.language` is now `tailrace.definitions`, and goes with the next version: import from there",
    DeprecationWarning,
    stacklevel=2,
)
