"""How Python talks to the JVM of a session."""

import pytest
from delta.tables import DeltaTable
from py4j.java_gateway import JavaPackage, JVMView
from pyspark.sql import functions as F

from tailrace.lake.session import java_class


def test_what_each_expression_and_table_needs_of_the_jvm_is_not_looked_up_again(spark, tmp_path, monkeypatch):
    def look_up(self, name):
        pytest.fail(f"{name} was looked up")

    frame = spark.range(3)
    path = java_class(spark, "org.apache.hadoop.fs.Path")
    for holder in (JVMView, JavaPackage):
        monkeypatch.setattr(holder, "__getattr__", look_up)

    frame.select(F.col("id") + F.lit(1), F.when(F.expr("id > 1"), "many"))
    assert not DeltaTable.isDeltaTable(spark, str(tmp_path))
    assert java_class(spark, "org.apache.hadoop.fs.Path") is path
