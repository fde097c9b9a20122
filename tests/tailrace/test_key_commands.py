"""`tailrace keys`: what it makes, tells and takes away."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from serving.auth.api_keys import read_key_file, sha256
from tailrace.cli import app as cli


@pytest.fixture(autouse=True)
def path(monkeypatch, tmp_path):
    """A file of keys that does not exist yet, in a folder that does not either."""
    for name in [name for name in os.environ if name.startswith("TAILRACE_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "more" / "keys.json"
    monkeypatch.setenv("TAILRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TAILRACE_READER_KEYS", str(path))
    return path


def run(*arguments):
    """The last line of a command that must succeed, as JSON."""
    result = CliRunner().invoke(cli.app, ["keys", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def failure(monkeypatch, capsys):
    """What a command that must fail says."""

    def fail(*arguments):
        monkeypatch.setattr(sys, "argv", ["tailrace", "keys", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 1
        return capsys.readouterr().err

    return fail


def test_a_key_is_shown_once_and_its_hash_is_kept(path):
    made = run("add", "ranker", "--scope", "read:ranker", "--scope", "write:document_activity")

    [kept] = read_key_file(path)
    assert kept.sha256 == sha256(made["key"])
    assert (made["name"], made["scopes"]) == ("ranker", ["read:ranker", "write:document_activity"])
    assert (made["expires"], made["expired"], made["id"]) == (None, False, kept.id)
    assert made["key"] not in path.read_text()
    listed = run("list")
    assert listed == {"keys": [{name: value for name, value in made.items() if name != "key"}]}


def test_a_key_is_shown_to_people_on_a_line_of_its_own_however_narrow_that_is(monkeypatch, path):
    with monkeypatch.context() as narrow:
        narrow.setattr("tailrace.cli.output.people._width", 20)
        told = CliRunner().invoke(cli.app, ["keys", "add", "ranker", "--scope", "read:*"]).stdout

    [key] = [line for line in told.splitlines() if line.startswith("trk_")]
    assert read_key_file(path)[0].sha256 == sha256(key)
    assert "ranker" in CliRunner().invoke(cli.app, ["keys", "list"]).stdout


def test_a_key_expires_after_the_days_it_is_given():
    made = run("add", "guest", "--scope", "read:*", "--days", "30")

    left = datetime.fromisoformat(made["expires"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)


def test_a_key_is_removed_by_its_name(path):
    run("add", "first", "--scope", "read:*")
    run("add", "second", "--scope", "read:*")

    assert run("remove", "first")["removed"]["name"] == "first"

    assert [key.name for key in read_key_file(path)] == ["second"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "a", "--scope", "read:rankr"), "read:rankr: there is no feature service 'rankr'; there are ranker"),
        (("add", "a", "--scope", "write:ranker"), "write:ranker: there is no view 'ranker'; there are actor_activity"),
        (("add", "a", "--scope", "admin"), "'admin' is not a scope; scopes are read:SERVICE"),
        (("add", "a b", "--scope", "read:*"), "'a b' is not a valid name"),
        (("list",), "`tailrace keys add NAME --scope read:SERVICE` makes it"),
        (("remove", "a"), "`tailrace keys add NAME --scope read:SERVICE` makes it"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(failure, arguments, said, path):
    assert said in failure(*arguments)
    assert not path.exists()


def test_a_file_that_cannot_be_read_is_told_and_left_alone(failure, path):
    path.parent.mkdir()
    path.write_text("{")

    assert "cannot be read" in failure("add", "a", "--scope", "read:*")
    assert path.read_text() == "{"


def test_without_a_file_the_setting_is_named(failure, monkeypatch):
    monkeypatch.delenv("TAILRACE_READER_KEYS")

    assert "TAILRACE_READER_KEYS names no file" in failure("list")
