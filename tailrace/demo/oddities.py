"""The demo's odd files: they lie next to the good ones in its first load, and each has to be refused by name."""

import shutil
from pathlib import Path

from pyspark.sql import functions as F

from tailrace.errors import CommandError
from tailrace.events.oddities import ODDITIES, land_oddities
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import EVENTS

FOLDER = "odd"


def land_odd_files(landing: Path) -> None:
    """Put every oddity into a folder of its own among the events."""
    land_oddities(landing / EVENTS.name / FOLDER)


def remove_odd_files(landing: Path) -> None:
    """Take the folder away again; the stream, which follows the same rules, would name each of them once more."""
    shutil.rmtree(landing / EVENTS.name / FOLDER)


def refused_odd_files(lake: Lake) -> dict[str, str]:
    """Why each oddity was refused, by its name; raises `CommandError` for one that was not."""
    whole = lake.read(bronze.QUARANTINE).where((F.col("feed") == EVENTS.name) & F.isnull("line"))
    reasons = {row.file: row.reason for row in whole.collect()}
    refused = {f"{FOLDER}/{oddity.name}": oddity.reason for oddity in ODDITIES}
    left = [name for name, reason in refused.items() if reason not in reasons.get(name, "")]
    if left:
        raise CommandError(f"odd files were not refused by name: {', '.join(left)}; look into bronze.quarantine")
    return {name: reasons[name] for name in refused}
