"""Java's classes, by their full names."""

from typing import Any

from pyspark.sql import SparkSession

# What PySpark and Delta look up thousands of times in a refresh, in one step or part by part.
KEPT_WHOLE = (
    "functions",
    "org.apache.spark.sql.functions",
    "org.apache.spark.sql.classic.SparkSession",
    "PythonUtils",
    "PythonSQLUtils",
)
KEPT_BY_PARTS = ("io.delta.tables.DeltaTable", "py4j.reflection.TypeUtil")


def java_class(spark: SparkSession, name: str) -> Any:
    """A class, asked for once and in one step: at every dot of `_jvm.org.apache` the JVM looks for a class in all its JARs."""
    jvm = spark._jvm
    found = getattr(jvm, name)
    setattr(jvm, name, found)
    return found


def keep_names(spark: SparkSession) -> None:
    """Have Python keep what PySpark and Delta look up in the JVM for each column expression and each table.

    Py4J has the JVM look it up each time anew, in every package that is imported there, among hundreds of JARs.
    """
    for name in KEPT_WHOLE:
        java_class(spark, name)
    for name in KEPT_BY_PARTS:
        holder = spark._jvm
        for part in name.split("."):
            found = getattr(holder, part)
            setattr(holder, part, found)
            holder = found
