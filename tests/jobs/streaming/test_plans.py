"""Which files of a folder are planned for the stream, and when."""

import json
import os
import time

import pytest

from jobs.streaming import source as module
from jobs.streaming.source import Plans, plans_of
from tailrace.events.oddities import LINE, land_oddities
from tailrace.lake.storage import walk


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "events"
    folder.mkdir()
    return folder


@pytest.fixture
def plans(folder, tmp_path):
    return Plans(str(folder), tmp_path / "checkpoint")


def planned(plans):
    """The names in each plan, in order."""
    return [json.loads(plan.read_text()) for plan in sorted(plans_of(plans.checkpoint).glob("*.plan"))]


def land(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(LINE)


def test_each_file_is_planned_once_whichever_process_looks(folder, plans):
    land(folder, "a.jsonl", "sub/b.JSON")
    plans.look()
    plans.look()
    land(folder, "c.jsonl.gz")
    again = Plans(plans.folder, plans.checkpoint)
    again.look()
    again.look()

    assert planned(plans) == [["a.jsonl", "sub/b.JSON"], ["c.jsonl.gz"]]


def test_links_in_circles_have_an_end_and_odd_files_are_planned_by_name(folder, plans):
    odd = land_oddities(folder)
    plans.look()

    (names,) = planned(plans)
    assert {"pipe.jsonl", "caf\\xe9.jsonl", "itself.jsonl", "at 10:30.jsonl"} < set(names)
    assert set(names) < {one.name for one in odd}
    assert not {"round", "up", "notes.txt"} & set(names)


def test_files_that_are_still_written_wait_for_their_names(folder, plans):
    land(folder, ".a.jsonl", "_b/a.jsonl", "c.jsonl.part")
    plans.look()
    assert planned(plans) == []

    (folder / "c.jsonl.part").rename(folder / "c.jsonl")
    plans.look()
    assert planned(plans) == [["c.jsonl"]]


def test_what_spark_listed_itself_before_there_were_plans_is_not_planned_again(folder, tmp_path):
    log = tmp_path / "checkpoint" / "sources" / "0" / "0"
    log.parent.mkdir(parents=True)
    log.write_text("v1\n" + json.dumps({"path": f"file://{folder}/a%20b.jsonl", "batchId": 0}))
    land(folder, "a b.jsonl", "c.jsonl")
    plans = Plans(str(folder), tmp_path / "checkpoint")
    plans.look()

    assert planned(plans) == [["c.jsonl"]]


def test_a_plan_has_no_more_than_a_micro_batch_is_to_take_the_oldest_first_but_one_file_is_whole(
    folder, plans, monkeypatch
):
    monkeypatch.setattr(module, "BYTES_AT_ONCE", 2 * len(LINE))
    land(folder, *(f"{number}.jsonl" for number in range(5)))
    for large in ("4.jsonl", "1.jsonl"):
        (folder / large).write_text(LINE * 9)
    for number in range(5):
        os.utime(folder / f"{number}.jsonl", (9 - number, 9 - number))
    plans.look()

    assert planned(plans) == [["4.jsonl"], ["3.jsonl", "2.jsonl"], ["1.jsonl"], ["0.jsonl"]]
    assert [file.stat().st_mtime for file in sorted(plans_of(plans.checkpoint).iterdir())] == [1, 2, 3, 4]


def test_a_file_is_known_to_be_listed_once_a_later_look_has_ended(folder, plans):
    plans.look()
    assert plans.listed == 0
    between = time.time()
    plans.look()
    assert 0 < plans.listed <= between


def test_a_folder_that_is_away_is_looked_at_again(folder, plans, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    plans.look()
    away = iter([OSError("the disk is away")])

    def failing_once(path):
        for error in away:
            raise error
        land(folder, "a.jsonl")
        return walk(path)

    monkeypatch.setattr(module, "walk", failing_once)
    with plans.looking():
        deadline = time.monotonic() + 60
        while not planned(plans):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert planned(plans) == [["a.jsonl"]]
