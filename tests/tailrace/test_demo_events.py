"""What the demo replays from a file, a git history or an invented workspace."""

import gzip
import os
import subprocess
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from tailrace.demo import events as demo_events
from tailrace.demo.events import Tick, demo_ticks, land_tick
from tailrace.events.files import LandingFileError, NoReadableTimeError
from tailrace.schemas.slots import GRID, check_on_grid, to_text

NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
BAD = b'{"event_id": "e-bad", "document_id": "d-bad'


def event(number, *, minutes, document="handbook:guides/start.md"):
    return {
        "event_id": f"e{number}",
        "event_type": "view",
        "actor_id": f"u{number % 3}",
        "document_id": document,
        "occurred_at": to_text(NINE + timedelta(minutes=minutes)),
    }


@pytest.fixture
def write_events(tmp_path):
    def write(events, name="events.jsonl"):
        path = tmp_path / name
        lines = [one if isinstance(one, bytes) else orjson.dumps(one) for one in events]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    return write


def ids(tick):
    return [orjson.loads(line)["event_id"] for line in tick.events if line != BAD]


LATE = [
    (10, 1, "a:x/one.md"),
    (11, 20, "a:two.pdf"),
    (12, 40, "a:x/one.md"),
    (13, 50, "a:three"),
    (14, 55, "a:two.pdf"),
]


@pytest.fixture
def replayed(write_events):
    early = [event(number, minutes=-9_000 + number, document="a:old.md") for number in range(45)]
    late = [event(number + 90, minutes=minutes, document=document) for number, minutes, document in LATE]
    path = write_events([*early[:20], BAD, *early[20:], *late])
    return path, demo_ticks(git=None, events=path)


def test_a_file_of_events_gives_four_slots_on_the_grid(replayed):
    path, (name, ticks) = replayed

    assert name == f"events of {path}"
    assert [tick.as_of for tick in ticks] == [NINE + number * GRID for number in range(1, 5)]
    for tick in ticks:
        check_on_grid(tick.as_of)


def test_every_event_is_in_the_slot_it_happened_in_and_all_before_in_the_first(replayed):
    _, (_, ticks) = replayed

    assert [ids(tick) for tick in ticks[1:]] == [["e101"], ["e102"], ["e103", "e104"]]
    assert len(ids(ticks[0])) == 46


def test_a_line_that_cannot_be_read_lands_once_and_ends_in_quarantine(replayed):
    _, (_, ticks) = replayed

    assert [tick.events.count(BAD) for tick in ticks] == [1, 0, 0, 0]


def test_documents_are_described_once_when_they_first_appear(replayed):
    _, (_, ticks) = replayed

    documents = [[orjson.loads(line) for line in tick.documents] for tick in ticks]
    assert [[one["id"] for one in part] for part in documents] == [
        ["a:old.md", "a:x/one.md"],
        ["a:two.pdf"],
        [],
        ["a:three"],
    ]
    assert documents[0][1] == {
        "id": "a:x/one.md",
        "title": "one.md",
        "type": "md",
        "folder": "/x",
        "updated_at": "2026-03-01T09:01:00Z",
    }


@pytest.mark.parametrize("odd", [b"[]", b'"text"', b"7", b'{"occurred_at": "2026-03-01T09:10:00Z", "document_id": 7}'])
def test_lines_that_are_no_events_describe_nothing(write_events, odd):
    path = write_events([odd, event(1, minutes=5)])

    _, ticks = demo_ticks(git=None, events=path)

    assert sum(tick.events.count(odd) for tick in ticks) == 1
    assert [orjson.loads(line)["id"] for tick in ticks for line in tick.documents] == ["handbook:guides/start.md"]


def test_a_file_without_a_readable_time_is_refused(write_events):
    with pytest.raises(NoReadableTimeError):
        demo_ticks(git=None, events=write_events([BAD]))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LandingFileError, match="no such file"):
        demo_ticks(git=None, events=tmp_path / "gone.jsonl")


def test_a_git_history_is_replayed_the_same_way(tmp_path):
    variables = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
    for role in ("AUTHOR", "COMMITTER"):
        variables |= {f"GIT_{role}_NAME": "Ada", f"GIT_{role}_EMAIL": "ada@example.org"}
        variables |= {f"GIT_{role}_DATE": "2026-03-01T09:07:00Z"}
    repository = tmp_path / "atlas"
    repository.mkdir()
    (repository / "map.md").write_text("here")
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=repository, env=variables, check=True)

    name, ticks = demo_ticks(git=repository, events=None)

    assert name == f"git history of {repository}"
    assert [len(tick.events) for tick in ticks] == [1, 0, 0, 0]
    assert ticks[0].as_of == NINE + GRID
    assert [orjson.loads(line)["id"] for line in ticks[0].documents] == ["atlas:map.md"]


def test_without_a_source_a_workspace_is_invented_up_to_the_last_tick(monkeypatch):
    monkeypatch.setattr(demo_events, "ORGANISATION", {"documents": 120, "actors": 9, "days": 20, "seed": 7})
    before = datetime.now(UTC)

    name, ticks = demo_ticks(git=None, events=None)

    assert name == "a workspace of 120 documents, generated"
    assert before - GRID < ticks[-1].as_of <= datetime.now(UTC)
    assert [len(tick.documents) for tick in ticks] == [120, 0, 0, 0]
    assert sum(len(tick.events) for tick in ticks) >= 600
    for tick in ticks:
        check_on_grid(tick.as_of)
        assert all(orjson.loads(line)["occurred_at"] <= to_text(tick.as_of) for line in tick.events)


def test_a_slot_lands_as_one_file_per_feed(tmp_path):
    tick = Tick(as_of=NINE, events=[b'{"event_id":"e1"}', BAD], documents=[b'{"id":"d1"}'])

    land_tick(tick, tmp_path)

    assert (
        gzip.decompress((tmp_path / "events/20260301T0900.jsonl.gz").read_bytes())
        == b'{"event_id":"e1"}\n' + BAD + b"\n"
    )
    assert gzip.decompress((tmp_path / "documents/20260301T0900.jsonl.gz").read_bytes()) == b'{"id":"d1"}\n'


def test_nothing_lands_where_nothing_happened(tmp_path):
    land_tick(Tick(as_of=NINE, events=[], documents=[]), tmp_path)

    assert list(tmp_path.iterdir()) == []
