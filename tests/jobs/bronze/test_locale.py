"""A load in the poorest locale there is, in a process of its own: a locale is chosen when a process begins."""

import json
import os
import subprocess
import sys

import pytest

from tailrace.events.oddities import LINE
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tests import feeds
from tests.conftest import SPARK

POOREST = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAMES = ("naïve.jsonl".encode(), b"caf\xe9.jsonl", "日報.jsonl".encode(), b"plain.jsonl")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_names_of_any_bytes_are_taken_or_refused_by_name_in_any_locale(spark, tmp_path):
    folder = tmp_path / "landing" / "events"
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / os.fsdecode(name)).write_text(LINE)

    done = subprocess.run(
        [sys.executable, "-m", "tailrace", "run", "bronze", "--json"],
        env=os.environ | SPARK | POOREST | {"TAILRACE_HOME": str(tmp_path)},
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert json.loads(done.stdout)["files"] == len(NAMES)
    lake = Lake(spark, str(tmp_path / "lake"))
    assert {row.file for row in lake.read(feeds.BRONZE_EVENTS).collect()} == {
        "naïve.jsonl",
        "日報.jsonl",
        "plain.jsonl",
    }
    [refused] = lake.read(bronze.QUARANTINE).collect()
    assert (refused.file, refused.line) == ("caf\\xe9.jsonl", None)
    assert "not UTF-8" in refused.reason
