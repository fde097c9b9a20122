"""Options of Spark that must be set before a JVM starts, and properties of Kafka's clients from a file."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tailrace.settings.environment import SettingsError
from tailrace.settings.model import Settings, SparkSettings
from tailrace.settings.places import is_loopback, set_up_command

LOCAL = {
    "spark.ui.enabled": "false",
    # Without these the driver announces a host name that its own executor may not reach.
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    # Memory is allocated by the page, 64 MB each by default: every broadcast of a few rows would fill one with zeros, and a
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

VARIABLE = "TAILRACE_KAFKA_PROPERTIES"
NAME = re.compile(r"[A-Za-z0-9._-]+")
# A name ends where `=`, `:` or a blank follows that no backslash stands before.
PROPERTY = re.compile(r"((?:\\.|[^\\\s=:])+)(?:\s*[=:]\s*|\s+)(.*)", re.DOTALL)
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}

OURS = {
    "bootstrap.servers": "set TAILRACE_KAFKA",
    "group.id": "offsets are kept by Tailrace, not by a group",
    "group.instance.id": "offsets are kept by Tailrace, not by a group",
    "auto.offset.reset": "a topic is read from its beginning",
    "enable.auto.commit": "offsets are kept by Tailrace, not by a group",
    "interceptor.classes": "Spark takes none",
    "key.deserializer": "messages are read as bytes",
    "value.deserializer": "messages are read as bytes",
}


def submit_options(settings: SparkSettings) -> dict[str, str]:
    """Spark properties by name; raises `SettingsError` if Delta's JARs are not there."""
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
    """Raise `SettingsError` if executors of a cluster would be given a store that only this machine reaches."""
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


def read_properties(file: Path | None) -> dict[str, str]:
    """Properties by name, none without a file; raises `SettingsError`, which names no value: some are secret."""
    if file is None:
        return {}
    try:
        text = file.read_text(encoding="iso-8859-1")  # as Java reads it
    except OSError as error:
        raise SettingsError(f"{VARIABLE}={file} cannot be read: {error.strerror}") from error
    properties = {}
    for number, line in logical_lines(text):
        matched = PROPERTY.fullmatch(line)
        name = unescaped(matched[1]) if matched else ""
        if matched is None or not NAME.fullmatch(name):
            raise SettingsError(f"{file}, line {number} is not a property; write it as name=value")
        if name in OURS:
            raise SettingsError(f"{file}, line {number}: {name} is not to be set there: {OURS[name]}")
        properties[name] = unescaped(matched[2])
    return properties


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments and blank ones, each with its number; one that ends in a backslash goes on in the next."""
    begun, whole = 0, ""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        part = line.lstrip(" \t\f")
        if not begun and (not part or part[0] in "#!"):
            continue
        begun, whole = begun or number, whole + part
        backslashes = len(whole) - len(whole.rstrip("\\"))
        if backslashes % 2:
            whole = whole[:-1]
        else:
            yield begun, whole
            begun, whole = 0, ""
    if begun:
        yield begun, whole


def unescaped(text: str) -> str:
    """Java's reading of `\\:`, `\\t`, `\\u00e9` and their likes."""

    def meant(matched: re.Match[str]) -> str:
        sign = matched[1]
        return chr(int(sign[1:], 16)) if len(sign) > 1 else CONTROLS.get(sign, sign)

    return ESCAPE.sub(meant, text)
