from collections import Counter
from datetime import UTC, datetime

import orjson
import pytest

from tailrace.events.files import HistoryError, LandingFileError, read_event_rows
from tailrace.events.landing import land_history, land_organisation
from tailrace.events.organisation import Organisation, generate

ORGANISATION = Organisation(documents=40, actors=5, days=2, seed=7, end=datetime(2026, 3, 4, 15, 30, tzinfo=UTC))


def rows_of(path):
    return [orjson.loads(line) for line in read_event_rows(path)]


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_workspace_lands_in_a_file_of_documents_and_one_of_events_per_day(tmp_path):
    documents, events = generate(ORGANISATION)

    counts = land_organisation(ORGANISATION, tmp_path)

    days = ["2026-03-02", "2026-03-03", "2026-03-04"]
    names = [f"events/workspace-{day}.jsonl.gz" for day in days]
    assert files_in(tmp_path) == ["documents/workspace-2026-03-04.jsonl.gz", *names]
    assert rows_of(tmp_path / "documents" / "workspace-2026-03-04.jsonl.gz") == documents
    landed = [rows_of(tmp_path / name) for name in names]
    assert [event for rows in landed for event in rows] == events
    assert [{event["occurred_at"][:10] for event in rows} for rows in landed] == [{day} for day in days]
    assert counts == {"events": len(events), "documents": 40, "files": 4}


def test_a_workspace_lands_nothing_where_one_of_its_files_is_there(tmp_path):
    there = tmp_path / "events" / "workspace-2026-03-04.jsonl.gz"
    there.parent.mkdir()
    there.touch()

    with pytest.raises(LandingFileError, match=r"workspace-2026-03-04.* is there already"):
        land_organisation(ORGANISATION, tmp_path)

    assert files_in(tmp_path) == ["events/workspace-2026-03-04.jsonl.gz"]


def test_a_history_lands_in_a_file_of_documents_and_one_of_events(repository, tmp_path):
    (repository.path / "plan.md").write_text("1")
    repository.commit(at="2026-03-01T10:00:00Z")
    (repository.path / "plan.md").write_text("2")
    repository.commit(at="2026-03-01T11:00:00Z")

    counts = land_history(repository.path, tmp_path / "landing")

    assert counts == {"events": 2, "documents": 1, "files": 2}
    assert files_in(tmp_path / "landing") == ["documents/atlas.jsonl.gz", "events/atlas.jsonl.gz"]
    events = rows_of(tmp_path / "landing" / "events" / "atlas.jsonl.gz")
    [document] = rows_of(tmp_path / "landing" / "documents" / "atlas.jsonl.gz")
    assert Counter(event["document_id"] for event in events) == {"atlas:plan.md": 2}
    assert (document["id"], document["updated_at"]) == ("atlas:plan.md", "2026-03-01T10:00:00Z")


@pytest.mark.parametrize("feed", ["events", "documents"])
def test_a_history_lands_nothing_where_one_of_its_files_is_there(repository, tmp_path, feed):
    (tmp_path / "landing" / feed).mkdir(parents=True)
    (tmp_path / "landing" / feed / "atlas.jsonl.gz").touch()

    with pytest.raises(LandingFileError, match=f"{feed}/atlas.* is there already"):
        land_history(repository.path, tmp_path / "landing")

    assert files_in(tmp_path / "landing") == [f"{feed}/atlas.jsonl.gz"]


def test_a_history_that_cannot_be_read_lands_nothing(repository, tmp_path):
    with pytest.raises(HistoryError):
        land_history(repository.path, tmp_path / "landing")

    assert not (tmp_path / "landing").exists()


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        (".dotfiles", "dotfiles"),
        ("_site", "site"),
        ("a:b {c}*?[d]", "a-b--c----d-"),
        ("資料", "history"),
        ("x" * 250, "x" * 200),
    ],
)
def test_files_of_a_history_have_names_that_every_reader_takes(repository, tmp_path, folder, file):
    (repository.path / "plan.md").write_text("1")
    repository.commit()

    land_history(repository.path.rename(tmp_path / folder), tmp_path / "landing")

    assert files_in(tmp_path / "landing") == [f"documents/{file}.jsonl.gz", f"events/{file}.jsonl.gz"]
