"""Java's classes, by their full names."""

from typing import Any

from pyspark.sql import SparkSession


def java_class(spark: SparkSession, name: str) -> Any:
    """A class, asked for in one step: at every dot of `_jvm.org.apache` the JVM looks for a class in all its JARs."""
    return getattr(spark._jvm, name)
