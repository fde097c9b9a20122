"""What a module's tests begin with is written once and copied for each of them, which is quicker than writing it again."""

import shutil

from tailrace.lake.tables import Lake
from tailrace.settings import Settings


def copied(original: Lake, lake: Lake) -> Lake:
    """The second lake, which is empty, with all tables of the first."""
    shutil.copytree(original.root, lake.root)
    return lake


def home_with(tables: Lake, settings: Settings) -> Settings:
    """A home that has these tables before its first refresh."""
    shutil.copytree(tables.root, settings.lake)
    return settings
