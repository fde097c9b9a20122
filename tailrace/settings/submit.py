"""Spark's options that must be set before its JVM starts, whether this process starts it or `spark-submit` does."""

from urllib.parse import urlsplit

from tailrace.settings.environment import SettingsError
from tailrace.settings.loopback import is_loopback
from tailrace.settings.model import Settings, SparkSettings
from tailrace.settings.places import set_up_command

LOCAL = {
    "spark.ui.enabled": "false",
    # Without these the driver announces a host name that its own executor may not reach.
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    # Memory is taken by the page, 64 MB each by default: every broadcast of a few rows would fill one with zeros, and a
    # full collection would come every few refreshes.
    "spark.buffer.pageSize": "4m",
    # What was run is kept for a page that nobody looks at here, by default a thousand plans with all their texts.
    "spark.ui.retainedJobs": "50",
    "spark.ui.retainedStages": "50",
    "spark.ui.retainedTasks": "1000",
    "spark.sql.ui.retainedExecutions": "20",
}

# A JVM reports on its standard output classes that it cannot keep, or of an archive that is not its own.
QUIET = "-Xlog:cds*=error"


def submit_options(settings: SparkSettings) -> dict[str, str]:
    """Spark properties by name; raises `SettingsError` where Delta's JARs are not there."""
    jars = sorted(settings.jars.glob("*.jar"))
    if not jars:
        raise SettingsError(
            f"no JARs in {settings.jars}; run `{set_up_command()}`, or point TAILRACE_JARS at Delta's JARs"
        )
    if settings.kafka_jars is not None:
        jars += sorted(settings.kafka_jars.glob("*.jar"))
    options = {
        "spark.jars": ",".join(str(jar) for jar in jars),
        "spark.driver.extraJavaOptions": " ".join((settings.java_options, *of_class_archive(settings))),
        "spark.driver.memory": settings.driver_memory,
    }
    return options | (LOCAL if settings.master.startswith("local") else {})


def of_class_archive(settings: SparkSettings) -> tuple[str, ...]:
    """Java options that take Spark's classes from the archive; another JVM than its maker leaves it aside by itself."""
    if not settings.class_archive.exists():
        return ()
    return (f'"-XX:SharedArchiveFile={settings.class_archive}"', QUIET)


def check_store_is_reachable(settings: Settings, *, master: str) -> None:
    """Raise `SettingsError` where executors of a cluster would be given a store that only this machine reaches."""
    if master.startswith("local") or is_on_loopback(master):
        return
    url = settings.store.url
    if url is None or is_on_loopback(url):
        store = f"TAILRACE_STORE_URL={url}" if url else "the embedded store (TAILRACE_STORE_URL is not set)"
        raise SettingsError(
            f"{store} is reached from this machine only, and Spark's executors run on the cluster {master}; set "
            "TAILRACE_STORE_URL to a store that they reach, or TAILRACE_SPARK_MASTER=local[*]"
        )


def is_on_loopback(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")
