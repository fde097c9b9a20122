from dataclasses import asdict
from datetime import UTC, datetime

from jobs.bronze.load import Loaded
from jobs.maintenance import Maintained
from tailrace.refresh import Report
from tailrace.report import maintained_lines, refresh_json

AT = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
DONE = Maintained(files_before=31, files_after=2, removed_files=1200, removed_bytes=3_400_000)
HELD = Maintained(files_before=2, files_after=2, held_by="version 7 is older than the retention and needed by x")
FAILED = Maintained(files_before=31, files_after=31, failure="online store: down")


def report(**maintained):
    return Report(as_of=AT, seconds=1.0, landed=Loaded(), refreshed={}, pushed={}, maintained=maintained)


def test_a_refresh_tells_of_maintenance_only_where_something_was_done():
    assert "maintained" not in refresh_json(report())
    assert refresh_json(report(pairs=DONE))["maintained"] == {"pairs": asdict(DONE)}


def test_people_are_told_what_was_done_to_a_table_what_holds_it_and_what_stopped_it():
    told = maintained_lines({name: asdict(one) for name, one in {"a": DONE, "b": HELD, "c": FAILED}.items()})

    assert told == [
        "a: 31 data files rewritten as 2, 1,200 files removed (3,400,000 bytes)",
        "b: 2 data files, nothing removed: version 7 is older than the retention and needed by x",
        "c: maintenance stopped: online store: down",
    ]
