"""DuckDB computes the same features of a repository's commits, without Spark and without this code: every row agrees.

`commits.jsonl.gz` has what this repository's first 500 commits did to which file: hash, time, path, and lines.
"""

import gzip
import json
import os
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tailrace.workspace.workspace import Workspace
from tests.tailrace.lake.copies import home_with

HERE = Path(__file__).parent
REFRESHES = (
    datetime(2026, 11, 26, tzinfo=UTC),
    datetime(2026, 11, 28, 6, 15, tzinfo=UTC),
    datetime(2026, 11, 29, 20, 15, tzinfo=UTC),
)
NEWEST = """
CREATE OR REPLACE TABLE changes AS
SELECT *, "at" AS moment, lines.added AS added, lines.deleted AS deleted FROM read_json(?, filename = true)
QUALIFY row_number() OVER (PARTITION BY commit, path ORDER BY filename DESC) = 1
"""
# Events of the future do not count yet, in any view.
QUERIES = {
    "by_path": """
        SELECT path, count(*) FILTER (moment > $now - 86400), count(*) FILTER (moment > $now - 3 * 86400), count(*),
            coalesce(sum(added) FILTER (moment > $now - 86400), 0), coalesce(sum(added), 0), min(moment), max(moment)
        FROM changes WHERE moment <= $now GROUP BY path
    """,
    "by_folder_hour": """
        SELECT folder, hour, count(*) FILTER (moment > $now - 86400), count(*) FILTER (moment > $now - 3 * 86400),
            coalesce(sum(deleted) FILTER (moment > $now - 3 * 86400), 0)
        FROM changes WHERE moment <= $now AND added > deleted GROUP BY folder, hour
    """,
    "by_folder": """
        SELECT folder, count(*) FILTER (moment > $now - 86400), count(*),
            count(DISTINCT hour) FILTER (moment > $now - 86400 AND added > deleted),
            count(DISTINCT hour) FILTER (moment > $now - 3 * 86400 AND added > deleted)
        FROM changes WHERE moment <= $now GROUP BY folder
    """,
}


def landed(row):
    """A line of the landing file: the commit's own facts, the folder that the file is in, and the hour."""
    folder = row["path"].partition("/")[0] if "/" in row["path"] else "."
    return row | {"folder": folder, "hour": datetime.fromtimestamp(row["at"], UTC).hour}


def deliveries():
    """Three files: what had happened by each refresh, some of it a refresh late, some corrected in lines or in time."""
    draw = random.Random(7)
    text = gzip.decompress((HERE / "commits.jsonl.gz").read_bytes()).decode()
    rows = [landed(json.loads(line)) for line in text.splitlines()]
    files: list[list[dict[str, Any]]] = [[], [], []]
    for row in rows:
        due = sum(row["at"] > as_of.timestamp() for as_of in REFRESHES[:2])
        late = min(2, due + (draw.random() < 0.05))
        files[late].append(row)
        if late < 2 and draw.random() < 0.05:
            moved = landed(row | {"at": row["at"] - draw.randrange(2 * 86_400)})
            files[late + 1].append(draw.choice((row | {"lines": {"added": 1, "deleted": 5}}, moved)))
    return files


def gold_rows(home, view):
    """Keys and features of a view, times in seconds, numbers as they are."""
    rows = home.lake.read(view.table).select(*view.keys, *view.feature_names).collect()
    return {tuple(int(cell.timestamp()) if hasattr(cell, "timestamp") else cell for cell in row) for row in rows}


@pytest.mark.slow
def test_every_row_agrees_with_an_independent_computation_at_each_refresh(make_settings, empty_tables):
    settings = home_with(empty_tables, make_settings(TAILRACE_FEATURES=str(HERE / "features")))
    home = Workspace(settings=settings)
    landing = settings.home / "landing" / "changes"
    landing.mkdir(parents=True)
    hows = []
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        for number, (as_of, rows) in enumerate(zip(REFRESHES, deliveries(), strict=True)):
            file = landing / f"{number}.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
            os.utime(file, (as_of.timestamp(), as_of.timestamp()))
            assert home.run_layer("bronze")["changes"] == len(rows)
            home.run_layer("silver")
            done = home.run_layer("gold", as_of=as_of)
            hows.append({view["how"] for view in done["views"].values()})
            connection.execute(NEWEST, [str(landing / "*.jsonl")])
            for name, query in QUERIES.items():
                expected = set(connection.execute(query, {"now": int(as_of.timestamp())}).fetchall())
                assert gold_rows(home, home.definitions.batch_views[name]) == expected, (name, as_of)
                assert len(expected) > 10

    assert hows == [{"full"}, {"incremental"}, {"incremental"}]
