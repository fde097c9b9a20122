"""What Spark has to be told before its JVM starts, whether this process starts it or `spark-submit` does."""

from settings.environment import SettingsError
from settings.model import SparkSettings

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


def submit_options(settings: SparkSettings) -> dict[str, str]:
    """Spark properties by name; raises `SettingsError` where Delta's JARs are not there."""
    jars = sorted(settings.jars.glob("*.jar"))
    if not jars:
        raise SettingsError(f"no JARs in {settings.jars}; run `make setup`, or point TAILRACE_JARS at Delta's JARs")
    options = {
        "spark.jars": ",".join(str(jar) for jar in jars),
        "spark.driver.extraJavaOptions": settings.java_options,
        "spark.driver.memory": settings.driver_memory,
    }
    return options | (LOCAL if settings.master.startswith("local") else {})
