"""Refuse a lake on S3 whose commits two processes can lose to each other.

A commit of Delta is a file that must not be there before. S3 file systems of Hadoop look and then write, and the log
store that Delta takes for S3 by itself (`S3SingleDriverLogStore`) makes that safe within one JVM only. Of two JVMs that
commit the same version both succeed, and one commit is gone without an error. Every command of Tailrace is a JVM of
its own. Delta 4.4 has no log store that uses the conditional writes of S3.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from tailrace.lake.tables import LakeError

S3_SCHEMES = ("s3a", "s3", "s3n")

# Delta's own log stores that do not keep other JVMs out on S3, by the last part of their names.
UNSAFE_ON_S3 = (
    "AzureLogStore",
    "GCSLogStore",
    "HDFSLogStore",
    "LocalLogStore",
    "S3SingleDriverLogStore",
)


def check_log_store(root: str, *, spark_setting: Callable[[str], str | None], single_writer: bool) -> None:
    """Raise `LakeError` for a lake on S3 without a log store that is safe for several JVMs, unless there is one only.

    `spark_setting` answers what a property of Spark is set to, None where it is not.
    """
    scheme = urlsplit(root).scheme
    if scheme not in S3_SCHEMES or single_writer:
        return
    name = f"spark.delta.logStore.{scheme}.impl"
    log_store = spark_setting(name) or spark_setting("spark.delta.logStore.class")
    if log_store and log_store.rpartition(".")[2] not in UNSAFE_ON_S3:
        return
    found = f"is {log_store}" if log_store else "is not set"
    raise LakeError(
        f"TAILRACE_LAKE={root}: {name} {found}, and commits of two processes at once could be lost without an error. "
        f"Set {name}=io.delta.storage.S3DynamoDBLogStore and spark.io.delta.storage.S3DynamoDBLogStore.ddb.tableName to "
        "its DynamoDB table, in spark-defaults.conf or as -Dname=value in TAILRACE_SPARK_JAVA_OPTIONS, with the JAR "
        "delta-storage-s3-dynamodb in TAILRACE_JARS. Or set TAILRACE_SINGLE_WRITER=1 if never more than one process "
        "writes this lake"
    )
