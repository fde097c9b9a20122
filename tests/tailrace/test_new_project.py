"""`tailrace init`: a project of one's own that works at once, or nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailrace.cli import app as cli
from tailrace.definitions import load_definitions
from tailrace.errors import CommandError
from tailrace.workspace.new_project import write_project

FILES = [".gitignore", "README.md", "features/searches.py", "sample_events.py", "tailrace.toml"]
END = "2026-03-10T12:00:00+00:00"


def generate(project, *options):
    """The files that the project's own generator writes, by name, without any package to import."""
    subprocess.run((sys.executable, "-I", "-S", "sample_events.py", *options), cwd=project, check=True)
    return {path.name: path.read_text() for path in (project / "landing" / "searches").iterdir()}


def test_a_new_project_is_found_by_commands_that_start_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {name: os.environ[name] for name in ("PATH", "HOME")})
    run = CliRunner().invoke

    made = json.loads(run(cli.app, ["init", "ours", "--json"]).stdout)
    assert made == {"folder": "ours", "files": FILES}
    monkeypatch.chdir("ours")
    listed = json.loads(run(cli.app, ["features", "list", "--json"]).stdout)
    assert (list(listed["views"]), list(listed["services"])) == (["query_activity"], ["search_ranker"])
    assert os.environ["TAILRACE_FEATURES"] == "features"


def test_its_generator_needs_no_package_and_its_events_follow_from_seed_and_end(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        write_project(folder)

    lines = generate(one, "--end", END)
    assert lines == generate(two, "--end", END)
    (text,) = lines.values()
    assert len(set(generate(two, "--end", END, "--seed", "2").values())) == 2
    events = [json.loads(line) for line in text.splitlines()]
    assert len({event["search_id"] for event in events}) == len(events) == 2000
    assert max(event["ts"] for event in events) == 1773144000000
    (searches,) = load_definitions([str(one / "features")]).sources.values()
    assert {str(field.parts[0]) for field in searches.columns} == set(events[0])


@pytest.mark.parametrize("filled", ["folder", "file"])
def test_what_has_something_in_it_is_left_alone(tmp_path, filled):
    place = tmp_path / "ours"
    if filled == "folder":
        place.mkdir()
        (place / ".hidden").write_text("mine")
    else:
        place.write_text("mine")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(CommandError, match="ours"):
        write_project(place)

    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("exists", [False, True])
def test_a_project_that_cannot_be_written_whole_is_not_written(tmp_path, monkeypatch, exists):
    place = tmp_path / "ours"
    if exists:
        place.mkdir()
    real = Path.rename

    def rename(path, target):
        if path.name == "sample_events.py":
            raise OSError(28, "No space left on device", str(target))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)

    with pytest.raises(OSError, match="No space"):
        write_project(place)

    assert [*tmp_path.rglob("*")] == [place] * exists
