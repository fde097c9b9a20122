from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from bench.week import draw_week, run_week, sort_of, ticks_of_week
from tailrace.schemas.slots import GRID
from tailrace.store import embedded


def test_a_week_begins_with_all_that_was_before_and_goes_on_slot_by_slot():
    first, *ticks = ticks_of_week(30)

    assert len(first.documents) == 2_000
    assert len(first.events) > 1_000
    assert len(ticks) == 30
    assert [tick.documents for tick in ticks] == [[]] * 30
    assert {after.as_of - before.as_of for before, after in zip([first, *ticks], ticks, strict=False)} == {GRID}
    for tick in ticks:
        for line in tick.events:
            at = datetime.fromisoformat(orjson.loads(line)["occurred_at"])
            assert tick.as_of - GRID < at <= tick.as_of


def test_files_of_a_table_are_told_apart():
    names = {
        "gold/pairs/part-0.parquet": "data",
        "gold/pairs/_change_data/cdc-0.parquet": "change",
        "gold/pairs/_delta_log/00000000000000000003.json": "log",
        "gold/pairs/deletion_vector_1.bin": "vector",
    }
    assert {name: sort_of(Path(name)) for name in names} == names


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_each_refresh_of_a_week_is_a_point_with_its_files_and_all_of_them_a_picture(make_settings, tmp_path):
    stages: list[str] = []

    week = run_week(settings := make_settings(), refreshes=2, retention_days=1.0, progress=stages.append)
    embedded.stop(make_settings("home/week"))

    points = week["refreshes"]
    assert stages == ["refresh 0", "refresh 1", "refresh 2"]
    assert len(points) == 2
    assert all(point["seconds"] > 0 for point in points)
    assert points[-1]["live_files"] <= points[-1]["data_files"]
    assert week["most"] == week["last"]
    assert week["last"]["log_files"] == points[-1]["log_files"] > 0
    assert Path(settings.home, "week", "lake", "gold").is_dir()

    draw_week(points, tmp_path / "week.svg")
    assert ElementTree.parse(tmp_path / "week.svg").getroot().tag.endswith("svg")
