"""Which lakes are refused because commits of several processes could be lost there."""

from types import SimpleNamespace

import pytest

from tailrace.lake import session
from tailrace.lake.log_store import check_log_store
from tailrace.lake.tables import LakeError
from tailrace.settings import SettingsError
from tailrace.workspace.workspace import Workspace

DYNAMODB = "io.delta.storage.S3DynamoDBLogStore"
ONE_JVM = "io.delta.storage.S3SingleDriverLogStore"


def check(root, *, single_writer=False, **of_spark):
    settings = {f"spark.delta.logStore.{name.replace('_', '.')}": value for name, value in of_spark.items()}
    check_log_store(root, spark_setting=settings.get, single_writer=single_writer)


@pytest.mark.parametrize("scheme", ["s3a", "s3", "s3n"])
@pytest.mark.parametrize("log_store", [None, ONE_JVM, "org.apache.spark.sql.delta.storage.HDFSLogStore"])
def test_a_lake_on_s3_without_a_log_store_for_several_jvms_is_refused_by_the_settings_that_would_do(scheme, log_store):
    with pytest.raises(LakeError) as refused:
        check(f"{scheme}://bucket/lake", **({f"{scheme}_impl": log_store} if log_store else {}))

    for name in (f"spark.delta.logStore.{scheme}.impl", DYNAMODB, "TAILRACE_SINGLE_WRITER=1", log_store or "not set"):
        assert name in str(refused.value)


@pytest.mark.parametrize(
    ("root", "of_spark"),
    [
        ("s3a://bucket/lake", {"s3a_impl": DYNAMODB}),
        ("s3a://bucket/lake", {"s3a_impl": "com.example.OwnLogStore"}),
        ("s3a://bucket/lake", {"class": DYNAMODB}),
        ("s3://bucket/lake", {"s3_impl": DYNAMODB}),
        ("s3a://bucket/lake", {"single_writer": True}),
        ("abfss://container@account/lake", {}),
        ("gs://bucket/lake", {}),
        ("hdfs://name/lake", {}),
        ("/srv/lake", {}),
    ],
)
def test_a_lake_whose_commits_are_safe_is_taken(root, of_spark):
    check(root, **of_spark)


def test_the_log_store_of_another_scheme_does_not_count():
    with pytest.raises(LakeError, match=r"logStore\.s3a\.impl is not set"):
        check("s3a://bucket/lake", s3_impl=DYNAMODB)


def test_a_home_opens_such_a_lake_only_for_a_single_writer(spark, make_settings):
    home = Workspace(settings=make_settings(TAILRACE_LAKE="s3a://bucket/lake"))
    home.spark = spark
    with pytest.raises(LakeError, match=r"TAILRACE_LAKE=s3a://bucket/lake"):
        _ = home.lake

    alone = Workspace(settings=make_settings(TAILRACE_LAKE="s3a://bucket/lake", TAILRACE_SINGLE_WRITER="1"))
    alone.spark = spark
    assert alone.lake.root == "s3a://bucket/lake"


def test_a_home_with_the_embedded_store_asks_no_cluster_for_executors(make_settings):
    home = Workspace(settings=make_settings(TAILRACE_SPARK_MASTER="spark://cluster.invalid:7077"))

    with pytest.raises(SettingsError, match=r"cluster\.invalid"):
        _ = home.spark


def test_a_home_that_was_submitted_to_a_cluster_is_refused_where_spark_runs(make_settings, monkeypatch):
    on_cluster = SimpleNamespace(sparkContext=SimpleNamespace(master="yarn"))
    monkeypatch.setattr(session, "is_submitted", lambda: True)
    monkeypatch.setattr(session, "open_session", lambda _: on_cluster)

    with pytest.raises(SettingsError, match="yarn"):
        _ = Workspace(settings=make_settings()).spark
