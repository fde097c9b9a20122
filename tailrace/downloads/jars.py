"""JARs: `jars` holds exactly those of `jars.lock`, for Delta in Spark, and so on for each set; and the Java to run them.

They come by the Ivy that pyspark ships, with its own cache and one resolver: neither Maven nor what happens to
lie in the home folder plays a part. What Delta's own dependencies would pull in besides (Hadoop, Jackson, Parquet)
duplicates Spark's and is left out.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from tailrace.downloads.pins import (
    LOCKS,
    DownloadError,
    PinnedFile,
    Sources,
    is_pinned,
    read_pins,
    require_pinned,
    sha256_of,
    write_pins,
)

OLDEST_JAVA = 17

# By the name of the folder that they go to: each is a class path of its own.
SPARK_SETS = {"jars": LOCKS / "jars.lock"}
STREAM_SETS = {"kafka": LOCKS / "kafka.lock", "kafka-spark": LOCKS / "kafka-spark.lock"}


def find_java_problem() -> str | None:
    """Return why Java cannot be used, and the way out; None if it can."""
    way_out = f"Install Java {OLDEST_JAVA} or newer and put it on PATH, or set JAVA_HOME to it."
    try:
        answer = subprocess.run([java_command(), "-version"], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"Java was not found ({error}). {way_out}"
    output = answer.stderr + answer.stdout
    version = re.search(r'version "((\d+)[^"]*)"', output)
    if version is None:
        return f"`{java_command()} -version` names no version: {output.strip()!r}. {way_out}"
    if int(version.group(2)) < OLDEST_JAVA:
        return f"{java_command()} is Java {version.group(1)}, too old for Spark. {way_out}"
    return None


def java_command() -> str:
    """Return the `java` that Spark would start: JAVA_HOME's, otherwise the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home, "bin/java")) if home else shutil.which("java") or "java"


IVY_SETTINGS = Path(__file__).with_name("ivysettings.xml")


def prepare(folder: Path, lock: Path, *, sources: Sources, work: Path) -> None:
    """Fetch what is missing or damaged of one lock, and remove what it does not name."""
    pins = read_pins(lock)
    folder.mkdir(exist_ok=True)
    missing = [pin for pin in pins if not is_pinned(folder / file_name(pin), pin)]
    if missing:
        print(f"Fetching {len(missing)} JARs", file=sys.stderr)
        fetched = fetch(missing, sources=sources, work=work)
        for pin in missing:
            require_pinned(fetched / file_name(pin), pin, lock=lock)
        for pin in missing:
            (fetched / file_name(pin)).replace(folder / file_name(pin))
    # A session takes every JAR in the folder: two versions of one would be on its class path.
    for stray in set(folder.iterdir()) - {folder / file_name(pin) for pin in pins}:
        stray.unlink()


def repin(sources: Sources, *, work: Path) -> None:
    """Write the sums of what the registry has now under the names in the locks."""
    for lock in (SPARK_SETS | STREAM_SETS).values():
        pins = read_pins(lock)
        fetched = fetch(pins, sources=sources, work=work)
        write_pins(lock, [PinnedFile(sha256_of(fetched / file_name(pin)), pin.name) for pin in pins])


def file_name(pin: PinnedFile) -> str:
    _, artifact, version = pin.name.split(":")
    return f"{artifact}-{version}.jar"


def fetch(pins: list[PinnedFile], *, sources: Sources, work: Path) -> Path:
    """Let Ivy download `pins` and return the folder they are in, checked by nobody yet."""
    module, fetched = work / "ivy.xml", work / "jars"
    module.write_bytes(ivy_module(pins))
    java = [java_command(), f"-Divy.default.ivy.user.dir={work / 'ivy'}", "-cp", str(sources.ivy)]
    ivy = ["org.apache.ivy.Main", "-settings", str(IVY_SETTINGS), "-cache", str(work / "ivy/cache")]
    retrieve = ["-ivy", str(module), "-retrieve", f"{fetched}/[artifact]-[revision].[ext]"]
    answer = subprocess.run(java + ivy + retrieve, capture_output=True, text=True, check=False)
    absent = [pin.name for pin in pins if not (fetched / file_name(pin)).is_file()]
    if answer.returncode or absent:
        output = "\n".join((answer.stdout + answer.stderr).splitlines()[-30:])
        raise DownloadError(f"Ivy did not fetch {', '.join(absent)}. Its last lines:\n{output}\nRun the set-up again.")
    return fetched


def ivy_module(pins: list[PinnedFile]) -> bytes:
    """Describe `pins` as the dependencies of a module, each JAR without its own dependencies."""
    module = Element("ivy-module", version="2.0")
    SubElement(module, "info", organisation="tailrace", module="jars")
    SubElement(SubElement(module, "configurations"), "conf", name="default")
    dependencies = SubElement(module, "dependencies", defaultconf="default->master")
    for pin in pins:
        organisation, artifact, version = pin.name.split(":")
        SubElement(dependencies, "dependency", org=organisation, name=artifact, rev=version, transitive="false")
    return tostring(module)
