"""The examples outside the package: their definitions load, and their sample events are what these declare."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tailrace.definitions import load_definitions

EXAMPLES = Path(__file__).parents[1] / "examples"
END = "2026-03-10T12:00:00+00:00"


@pytest.fixture
def clicks(tmp_path):
    """The example, without what somebody made in it."""
    ignored = shutil.ignore_patterns("var", "landing", "__pycache__")
    return shutil.copytree(EXAMPLES / "clicks", tmp_path / "clicks", ignore=ignored)


def test_the_clicks_are_as_its_definitions_declare_them(clicks):
    definitions = load_definitions([str(clicks / "features")])
    subprocess.run((sys.executable, "-I", "-S", "sample_events.py", "--end", END), cwd=clicks, check=True)

    for source in definitions.sources.values():
        (file,) = (clicks / "landing" / source.name).iterdir()
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for one in source.columns:
            assert all(value_at(row, one.parts) is not None for row in rows), one.name
        ids = {tuple(row[name] for name in source.key_columns) for row in rows}
        assert len(ids) == len(rows)
    assert set(definitions.sources) == {"searches", "products"}


def value_at(row, parts):
    """What a line has at a path."""
    for part in parts:
        row = row[part]
    return row
