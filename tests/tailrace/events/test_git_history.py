import hashlib
import os
import stat

import orjson
import pytest

from tailrace.events.git_history import read_history

ODD_NAMES = [
    *(
        "with blank.md",
        "line\nfeed.md",
        "\nstarts with one",
        "tab\t.md",
        "quo\"te's.md",
        "back\\slash.md",
        "Über/資料.md",
    ),
    *("-starts-with-dash", "--help", "A", "M", "HEAD", "0" * 40 + " 1 a@b", " ", "a:b", "*", "deep/" * 40 + "file.py"),
]


def told(events, *fields):
    return [tuple(event[field] for field in fields) for event in events]


def test_a_commit_gives_an_event_per_file(repository):
    (repository.path / "plan.md").write_text("1")
    commit = repository.commit(at="2026-03-01T10:00:00+02:00", email="Ada@Example.org")

    expected = {
        "event_id": hashlib.sha256(f"{commit}\0A\0plan.md".encode()).hexdigest()[:20],
        "event_type": "create",
        "actor_id": "u" + hashlib.sha256(b"ada@example.org").hexdigest()[:10],
        "document_id": "atlas:plan.md",
        "occurred_at": "2026-03-01T08:00:00Z",
        "source": "git",
    }
    assert read_history(repository.path) == [expected]


def test_files_are_created_edited_and_deleted(repository):
    plan, link = repository.path / "plan.md", repository.path / "link"
    plan.write_text("1")
    link.write_text("plan.md")
    repository.commit(at="2026-03-01T10:00:00Z")
    plan.write_text("2")
    repository.commit(at="2026-03-01T11:00:00Z")
    link.unlink()
    link.symlink_to("plan.md")
    repository.commit(at="2026-03-01T12:00:00Z")
    plan.unlink()
    repository.commit(at="2026-03-01T13:00:00Z")

    events = told(read_history(repository.path), "event_type", "document_id", "occurred_at")

    assert sorted(events[:2]) == [
        ("create", "atlas:link", "2026-03-01T10:00:00Z"),
        ("create", "atlas:plan.md", "2026-03-01T10:00:00Z"),
    ]
    assert events[2:] == [
        ("edit", "atlas:plan.md", "2026-03-01T11:00:00Z"),
        ("edit", "atlas:link", "2026-03-01T12:00:00Z"),
        ("delete", "atlas:plan.md", "2026-03-01T13:00:00Z"),
    ]


def test_a_change_of_mode_is_an_edit(repository):
    script = repository.path / "run.sh"
    script.write_text("1")
    repository.commit(at="2026-03-01T10:00:00Z")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    repository.commit(at="2026-03-01T11:00:00Z")

    assert told(read_history(repository.path), "event_type") == [("create",), ("edit",)]


def test_a_rename_is_a_deletion_and_a_creation_whatever_the_settings(repository):
    repository.git("config", "diff.renames", "copies")
    (repository.path / "old.md").write_text("the same\n" * 50)
    repository.commit(at="2026-03-01T10:00:00Z")
    repository.git("mv", "old.md", "new.md")
    repository.commit(at="2026-03-01T11:00:00Z")

    events = told(read_history(repository.path)[1:], "event_type", "document_id")

    assert sorted(events) == [("create", "atlas:new.md"), ("delete", "atlas:old.md")]


def test_any_file_name_is_read(repository):
    for name in ODD_NAMES:
        path = repository.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    repository.commit()

    events = read_history(repository.path)

    assert sorted(event["document_id"] for event in events) == sorted(f"atlas:{name}" for name in ODD_NAMES)
    assert {event["event_type"] for event in events} == {"create"}


def test_bytes_that_are_not_utf8_are_written_as_escapes_and_stay_distinct(repository):
    folder = os.fsencode(repository.path)
    for name in (b"caf\xe9.md", b"caf\xe8.md"):
        with open(os.path.join(folder, name), "wb"):  # noqa: PTH118, PTH123 - a pathlib path holds no such bytes
            pass
    repository.commit()

    events = read_history(repository.path)

    assert sorted(event["document_id"] for event in events) == ["atlas:caf\\xe8.md", "atlas:caf\\xe9.md"]
    assert orjson.loads(orjson.dumps(events)) == events


def test_a_merge_gives_no_events_and_its_branches_do(repository):
    (repository.path / "base.md").write_text("1")
    repository.commit(at="2026-03-01T10:00:00Z")
    repository.git("checkout", "--quiet", "-b", "side")
    (repository.path / "side.md").write_text("1")
    repository.commit(at="2026-03-01T11:00:00Z")
    repository.git("checkout", "--quiet", "main")
    (repository.path / "main.md").write_text("1")
    repository.commit(at="2026-03-01T12:00:00Z")
    repository.git("merge", "--quiet", "--no-commit", "side")
    (repository.path / "base.md").write_text("changed in the merge itself")
    repository.commit(at="2026-03-01T13:00:00Z")

    for setting in ("off", "first-parent"):
        repository.git("config", "log.diffMerges", setting)
        assert told(read_history(repository.path), "document_id") == [
            *(("atlas:base.md",), ("atlas:side.md",), ("atlas:main.md",)),
        ]


def test_commits_without_files_are_passed_over(repository):
    repository.commit(at="2026-03-01T09:00:00Z")
    (repository.path / "plan.md").write_text("1")
    repository.commit(at="2026-03-01T10:00:00Z", email="")
    repository.commit(at="2026-03-01T11:00:00Z")

    assert told(read_history(repository.path), "occurred_at") == [("2026-03-01T10:00:00Z",)]


def test_events_are_sorted_by_time_then_id(repository):
    for number, hour in enumerate((12, 10, 11, 10)):
        for letter in "abcdef":
            (repository.path / f"{letter}.md").write_text(str(number))
        repository.commit(at=f"2026-03-01T{hour}:00:00Z")

    order = told(read_history(repository.path), "occurred_at", "event_id")

    assert len(order) == 24
    assert order == sorted(order)


def test_a_history_longer_than_a_piece_is_read_whole(repository, monkeypatch):
    monkeypatch.setattr("tailrace.events.git_history.CHUNK", 7)
    for name in ODD_NAMES[:7]:
        path = repository.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    repository.commit()

    assert len(read_history(repository.path)) == 7


@pytest.mark.parametrize("seconds", ["9" * 12, "9" * 18, "9" * 24, ""])
def test_a_time_no_calendar_holds_stays_for_quarantine(repository, seconds):
    (repository.path / "plan.md").write_text("1")
    commit = repository.git("cat-file", "commit", repository.commit()).replace("1772359200 +0000", seconds + " +0000")
    (repository.path.parent / "commit").write_text(commit)
    broken = repository.git("hash-object", "-t", "commit", "-w", "--literally", str(repository.path.parent / "commit"))
    repository.git("update-ref", "HEAD", broken)

    assert told(read_history(repository.path), "occurred_at") == [("@" + seconds,)]
