import shutil
import subprocess
from pathlib import Path

import pytest

from tailrace.events.files import HistoryError
from tailrace.events.git_history import read_history, repository_name


def documents_of(path):
    return [event["document_id"] for event in read_history(path)]


def test_settings_of_the_repository_change_nothing(repository):
    (repository.path / "plan.md").write_text("1")
    repository.commit()
    plain = read_history(repository.path)
    unusual = {"log.showRoot": "false", "diff.orderFile": "missing", "color.ui": "always"}
    unusual |= {"i18n.logOutputEncoding": "UTF-16", "log.date": "relative"}
    for name, value in unusual.items():
        repository.git("config", name, value)

    assert len(plain) == 1
    assert read_history(repository.path) == plain


def test_signatures_are_not_checked(repository, tmp_path):
    checker = tmp_path / "gpg"
    checker.write_text("#!/bin/sh\necho 'a bad signature' >&2\necho '[GNUPG:] BADSIG 1 ada'\n")
    checker.chmod(0o755)
    (repository.path / "plan.md").write_text("1")
    text = repository.git("cat-file", "commit", repository.commit())
    signed = text.replace("\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n -----END PGP SIGNATURE-----\n\n", 1)
    (repository.path.parent / "commit").write_text(signed + "\n")
    repository.git("update-ref", "HEAD", repository.git("hash-object", "-t", "commit", "-w", "../commit"))
    plain = read_history(repository.path)
    repository.git("config", "log.showSignature", "true")
    repository.git("config", "gpg.program", str(checker))

    assert len(plain) == 1
    assert read_history(repository.path) == plain


def test_another_repository_in_the_environment_is_not_read(repository, monkeypatch):
    (repository.path / "plan.md").write_text("1")
    repository.commit()
    monkeypatch.setenv("GIT_DIR", str(repository.path.parent / "elsewhere"))

    assert documents_of(repository.path) == ["atlas:plan.md"]


def test_bare_repositories_and_worktrees_are_read(repository, tmp_path):
    (repository.path / "plan.md").write_text("1")
    repository.commit()
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "mirror.git"))
    repository.git("worktree", "add", "--quiet", str(tmp_path / "tree"))

    assert documents_of(tmp_path / "mirror.git") == ["mirror:plan.md"]
    assert documents_of(tmp_path / "tree") == ["tree:plan.md"]
    assert documents_of(repository.path / ".git") == ["atlas:plan.md"]


def test_a_repository_may_be_named_like_an_option(repository, tmp_path, monkeypatch):
    (repository.path / "plan.md").write_text("1")
    repository.commit()
    shutil.move(repository.path, tmp_path / "--exec=x")
    monkeypatch.chdir(tmp_path)

    assert documents_of(Path("--exec=x")) == ["--exec=x:plan.md"]


def test_the_name_of_a_repository_is_that_of_its_folder(repository, monkeypatch):
    monkeypatch.chdir(repository.path)

    assert repository_name(Path()) == "atlas"


def test_a_folder_without_repository_is_refused_even_inside_of_one(repository, tmp_path):
    inside = repository.path / "docs"
    inside.mkdir()

    for folder in (inside, tmp_path / "missing"):
        with pytest.raises(HistoryError, match=f"{folder}: not a git repository; give the folder that holds .git"):
            read_history(folder)


def test_a_repository_without_commits_is_refused(repository):
    with pytest.raises(HistoryError, match="atlas: no commits yet"):
        read_history(repository.path)


def test_a_missing_git_is_named(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(HistoryError, match="git is not installed"):
        read_history(repository.path)


def test_a_history_cut_short_is_an_error_and_not_a_shorter_history(repository):
    for number in range(3):
        (repository.path / "plan.md").write_text(str(number))
        commit = repository.commit(at=f"2026-03-01T1{number}:00:00Z")
    first = repository.git("rev-list", "--max-parents=0", commit)
    (repository.path / ".git" / "objects" / first[:2] / first[2:]).unlink()

    with pytest.raises(HistoryError, match=r"atlas: git cannot read its history \(.+\); repair it"):
        read_history(repository.path)


def test_git_is_never_run_through_a_shell(repository, monkeypatch):
    (repository.path / "plan.md").write_text("1")
    repository.commit()
    commands = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, command, **options):
            commands.append((command, options.get("shell", False)))
            super().__init__(command, **options)

    monkeypatch.setattr("subprocess.Popen", Watched)
    read_history(repository.path)

    assert [(type(command), shell) for command, shell in commands] == [(list, False)]


def test_output_that_breaks_off_is_an_error(repository, tmp_path, monkeypatch):
    broken = tmp_path / "bin" / "git"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nprintf '0123 0 a@b\\0\\nA\\0pla'\necho killed >&2\nexit 137\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(broken.parent))

    with pytest.raises(HistoryError, match=r"atlas: git cannot read its history \(killed\)"):
        read_history(repository.path)


def test_the_folder_one_stands_in_changes_nothing(repository, tmp_path, monkeypatch):
    docs = repository.path / "docs"
    docs.mkdir()
    (docs / "HEAD").write_text("1")
    (repository.path / "plan.md").write_text("1")
    repository.commit()
    # As in a submodule, where git knows the top of the files although it is told of the repository only.
    repository.git("config", "core.worktree", str(repository.path))
    repository.git("config", "diff.relative", "true")
    monkeypatch.chdir(docs)

    assert sorted(documents_of(repository.path)) == ["atlas:docs/HEAD", "atlas:plan.md"]
