"""Folders of definitions made up by a test."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tailrace.definitions import Definitions, load_definitions

# Every value differs from the defaults and from each other; a test overrides what matters.
VIEW = {
    "name": "'visits'",
    "entities": "(DOCUMENT,)",
    "owner": "'ada'",
    "description": "'Visits of a document.'",
    "freshness": "timedelta(minutes=7)",
    "aggregations": "(Count(name='views', types=('view',), over=('3h', 'total')), Last(name='seen_at'))",
}
PROLOGUE = """
from datetime import timedelta
from tailrace.definitions import *
from tailrace.schemas.expectations import expect
DOCUMENT = Entity('document', 'document_id', 'a document')
ACTOR = Entity('actor', 'actor_id', 'a person')
"""


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, file: str, source: str) -> None:
        self.path.mkdir(exist_ok=True, parents=True)
        (self.path / file).write_text(PROLOGUE + textwrap.dedent(source))

    def write_view(self, file: str = "visits.py", **fields: str) -> None:
        written = ", ".join(f"{name}={value}" for name, value in (VIEW | fields).items())
        self.write(file, f"view = FeatureView({written})")

    def load(self, *before: str) -> Definitions:
        return load_definitions((*before, str(self.path)))


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Folder]:
    return lambda name="definitions": Folder(tmp_path / name)


@pytest.fixture
def folder(make_folder: Callable[..., Folder]) -> Folder:
    return make_folder()
