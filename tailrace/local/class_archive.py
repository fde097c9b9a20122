"""`python -m tailrace.local.class_archive` makes an archive of the classes that a refresh loads.

A JVM that starts with the archive takes its classes from there, read and verified already (class-data sharing, JEP 350).
The archive is that of one Java and one set of JARs; others leave it aside.
"""

import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tailrace.events.landing import land_organisation
from tailrace.events.organisation import Organisation
from tailrace.schemas.slots import last_tick
from tailrace.settings import Settings, read_settings
from tailrace.settings.options import QUIET
from tailrace.store import embedded
from tailrace.workspace.refresh import refresh
from tailrace.workspace.workspace import Workspace

JVM_SECONDS = 300.0

ORGANISATION = {"documents": 20, "actors": 5, "days": 3, "seed": 1}


def make(settings: Settings) -> None:
    """Refresh a small workspace of a home that is thrown away, and keep what its JVM has loaded.

    The archive gets its name when it is whole; one that was there before serves until then.
    """
    archive = settings.spark.class_archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="unfinished-") as folder:
        written = Path(folder) / archive.name
        home = thrown_away(settings, Path(folder), archive=written)
        try:
            refresh_and_end(home)
        finally:
            embedded.stop(home)
        written.replace(archive)


def thrown_away(settings: Settings, home: Path, *, archive: Path) -> Settings:
    options = f'{settings.spark.java_options} {QUIET} "-XX:ArchiveClassesAtExit={archive}"'
    spark = replace(settings.spark, master="local[*]", java_options=options, class_archive=archive)
    return replace(
        settings,
        home=home,
        landing=str(home / "landing"),
        lake=str(home / "lake"),
        features=("shipped",),
        spark=spark,
        store=replace(settings.store, url=None),
    )


def refresh_and_end(settings: Settings) -> None:
    """Refresh, and wait until the JVM has ended, which writes the archive then."""
    land_organisation(Organisation(**ORGANISATION, end=last_tick(datetime.now(UTC))), Path(settings.landing))
    workspace = Workspace(settings=settings)
    refresh(workspace)
    jvm = workspace.spark.sparkContext._gateway.proc  # type: ignore[union-attr]
    workspace.spark.stop()
    jvm.stdin.close()  # at which the JVM ends
    jvm.wait(JVM_SECONDS)


if __name__ == "__main__":
    sys.stderr.write("Making an archive of Spark's classes, once: its JVM starts faster with it.\n")
    make(read_settings())
