import time

from tailrace.lake.task_progress import reporting_tasks


def test_a_long_stage_is_told_of_by_its_parts(spark, monkeypatch):
    monkeypatch.setattr("tailrace.lake.task_progress.EVERY_SECONDS", 0.1)
    told: list[str] = []

    def slowly(batches):
        time.sleep(0.2)
        yield from batches

    with reporting_tasks(spark, told.append):
        spark.range(0, 16, 1, 16).mapInArrow(slowly, "id bigint").count()
    heard = len(told)
    spark.range(0, 16, 1, 16).mapInArrow(slowly, "id bigint").count()

    assert any(line.endswith(" of 16 parts are done") for line in told)
    assert [int(line.split()[0]) for line in told] == sorted(int(line.split()[0]) for line in told)
    assert len(told) == heard


def test_short_stages_are_not_worth_telling(spark, monkeypatch):
    monkeypatch.setattr("tailrace.lake.task_progress.EVERY_SECONDS", 0.02)
    told: list[str] = []

    with reporting_tasks(spark, told.append):
        spark.range(0, 4, 1, 4).count()

    assert told == []
