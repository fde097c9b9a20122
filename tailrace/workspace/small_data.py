"""Spark's Java options by how much data there is.

Where it is little, a command's JVM spends most of its time on itself: its second compiler makes code fast that will hardly
run again. Such a JVM has one compiler. It generates code all the same: to interpret plans costs more from some thousand
lines on.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tailrace.settings import Settings, SparkSettings

ONE_COMPILER = "-XX:TieredStopAtLevel=1"
BOTH_COMPILERS = "-XX:TieredStopAtLevel=4"

# So many bytes of landed files and tables together: some hundred thousand events, compressed, and what follows from them.
LITTLE = 32 * 2**20


def with_java_options(spark: SparkSettings, options: str) -> SparkSettings:
    """Spark with further options of Java; those that are set come later and win."""
    return replace(spark, java_options=f"{options} {spark.java_options}")


def for_many_rows(spark: SparkSettings) -> SparkSettings:
    """Spark as it is by itself, however little data there is at the start."""
    return with_java_options(spark, BOTH_COMPILERS)


def fitting(settings: Settings) -> SparkSettings:
    """Spark with one compiler where all data is on this machine, and there is little of it."""
    return with_java_options(settings.spark, ONE_COMPILER) if has_little(settings) else settings.spark


def has_little(settings: Settings) -> bool:
    """Whether a home has little data; what lies elsewhere, or waits in a topic, may be any amount."""
    places = (settings.landing, settings.lake)
    if settings.stream.kafka or any("://" in place for place in places):
        return False
    left = LITTLE
    for size in (size for place in places for size in sizes_below(place)):
        left -= size
        if left < 0:
            return False
    return True


def sizes_below(folder: str) -> Iterator[int]:
    """The bytes of each file below a folder, that of a link itself; what vanishes meanwhile counts nothing."""
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                yield Path(where, name).lstat().st_size
            except OSError:
                continue
