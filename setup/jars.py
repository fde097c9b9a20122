"""JARs: `.tools/jars` holds exactly those of `setup/jars.lock`, what Spark needs for Delta, and so on for each of `SETS`.

They come by the Ivy that pyspark ships, with its own cache and one resolver, so that neither Maven nor what happens to
lie in the home folder plays a part. What Delta's own dependencies would pull in besides (Hadoop, Jackson, Parquet)
duplicates Spark's and is left out.
"""

import subprocess
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from setup.pins import Pin, SetupError, holds, read_pins, require, sha256, write_pins
from setup.prerequisites import java_command

# By the folder that they go to: each is a class path of its own.
SETS = {
    Path(".tools/jars"): Path("setup/jars.lock"),
    Path(".tools/kafka"): Path("setup/kafka.lock"),
    Path(".tools/kafka-spark"): Path("setup/kafka-spark.lock"),
}
IVY_SETTINGS = Path("setup/ivysettings.xml")


def prepare(checkout: Path, *, work: Path) -> None:
    """Fetch what is missing or damaged and remove what is not in the locks."""
    for folder, lock in SETS.items():
        prepare_set(checkout, folder, lock, work=work)


def prepare_set(checkout: Path, folder: Path, lock: Path, *, work: Path) -> None:
    """Make one folder hold what its lock names and nothing else."""
    pins = read_pins(checkout / lock)
    jars = checkout / folder
    jars.mkdir(exist_ok=True)
    missing = [pin for pin in pins if not holds(jars / file_name(pin), pin)]
    if missing:
        print(f"Fetching {len(missing)} JARs", flush=True)
        fetched = fetch(missing, checkout=checkout, work=work)
        for pin in missing:
            require(fetched / file_name(pin), pin, lock=lock)
        for pin in missing:
            (fetched / file_name(pin)).replace(jars / file_name(pin))
    # A session takes every JAR in the folder: two versions of one would be on its class path.
    for stray in set(jars.iterdir()) - {jars / file_name(pin) for pin in pins}:
        stray.unlink()


def repin(checkout: Path, *, work: Path) -> None:
    """Write the sums of what the registry has now under the names in the locks."""
    for lock in SETS.values():
        pins = read_pins(checkout / lock)
        fetched = fetch(pins, checkout=checkout, work=work)
        write_pins(checkout / lock, [Pin(sha256(fetched / file_name(pin)), pin.name) for pin in pins])


def file_name(pin: Pin) -> str:
    _, artifact, version = pin.name.split(":")
    return f"{artifact}-{version}.jar"


def fetch(pins: list[Pin], *, checkout: Path, work: Path) -> Path:
    """Let Ivy download `pins` and return the folder they are in, checked by nobody yet."""
    wanted, fetched = work / "ivy.xml", work / "jars"
    wanted.write_bytes(ivy_module(pins))
    java = [java_command(), f"-Divy.default.ivy.user.dir={work / 'ivy'}", "-cp", str(find_ivy(checkout))]
    ivy = ["org.apache.ivy.Main", "-settings", str(checkout / IVY_SETTINGS), "-cache", str(work / "ivy/cache")]
    retrieve = ["-ivy", str(wanted), "-retrieve", f"{fetched}/[artifact]-[revision].[ext]"]
    answer = subprocess.run(java + ivy + retrieve, capture_output=True, text=True, check=False)
    absent = [pin.name for pin in pins if not (fetched / file_name(pin)).is_file()]
    if answer.returncode or absent:
        told = "\n".join((answer.stdout + answer.stderr).splitlines()[-30:])
        raise SetupError(f"Ivy did not fetch {', '.join(absent)}. Its last words:\n{told}\nRun `make setup` again.")
    return fetched


def find_ivy(checkout: Path) -> Path:
    places = list(checkout.glob(".venv/lib/python*/site-packages/pyspark/jars/ivy-*.jar"))
    if not places:
        raise SetupError("No Ivy in .venv's pyspark. Remove .venv and run `make setup` again.")
    return places[0]


def ivy_module(pins: list[Pin]) -> bytes:
    """Describe `pins` as the dependencies of a module, each JAR without its own dependencies."""
    module = Element("ivy-module", version="2.0")
    SubElement(module, "info", organisation="tailrace", module="jars")
    SubElement(SubElement(module, "configurations"), "conf", name="default")
    dependencies = SubElement(module, "dependencies", defaultconf="default->master")
    for pin in pins:
        organisation, artifact, version = pin.name.split(":")
        SubElement(dependencies, "dependency", org=organisation, name=artifact, rev=version, transitive="false")
    return tostring(module)
