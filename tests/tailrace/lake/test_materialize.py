import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from tailrace.lake.session import ROWS, is_met, materialized


def held_by_spark(spark):
    """The ids of what Spark holds; what other tests held it may give up at any time."""
    return set(spark.sparkContext._jsc.getPersistentRDDs())


def test_rows_are_counted_in_the_pass_that_computes_them(spark):
    before = held_by_spark(spark)
    jobs = spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs

    started = jobs()
    with materialized(spark.range(10).withColumn("even", F.col("id") % 2 == 0), even=F.col("even")) as rows:
        assert jobs() == started + 1
        assert rows.counts == {ROWS: 10, "even": 5}
        assert sorted(row.id for row in rows.frame.where("even").collect()) == [0, 2, 4, 6, 8]
        assert len(held_by_spark(spark) - before) == 1

    assert not held_by_spark(spark) - before


def test_no_rows_are_counted_as_none(spark):
    with materialized(spark.range(0), odd=F.col("id") % 2 == 1) as rows:
        assert rows.counts == {ROWS: 0, "odd": 0}


def test_few_rows_are_left_to_one_task_and_many_are_not(spark, monkeypatch):
    with materialized(spark.range(0, 10, 1, 4)) as rows:
        assert rows.frame.rdd.getNumPartitions() == 1
    monkeypatch.setattr("tailrace.lake.session.FEW", 9)
    with materialized(spark.range(0, 10, 1, 4)) as rows:
        assert rows.frame.rdd.getNumPartitions() == 4


def test_a_computation_that_fails_raises_its_own_error(spark):
    with (
        pytest.raises(PySparkException, match="no good"),
        materialized(spark.range(3).select(F.raise_error(F.lit("no good")))),
    ):
        pass


CONDITIONS = {
    "n * 4 > 0": [True, False, False],  # overflows
    "n / d > 0": [False, True, False],
    "cast(word as int) > 3": [True, False, False],
    "word > 3": [True, False, False],
    "d < 1 and n * 4 > 0": [True, False, False],
    "d > 1": [False, True, False],
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_row_of_which_a_condition_cannot_be_worked_out_does_not_meet_it(spark, condition):
    rows = spark.createDataFrame([(1, "5", 0), (2**62, "x", 2), (None, None, None)], "n bigint, word string, d bigint")

    found = [row.met for row in rows.select(is_met(condition).alias("met")).collect()]

    assert found == CONDITIONS[condition]
    assert rows.where(is_met(condition)).count() == sum(found)
