"""Every command that fails with `--json` prints one JSON object, whatever stopped it."""

import json
import sys

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from tailrace.cli import app as cli

PASSES_ON = ("airflow",)  # whatever it is given, to another command
IN_FRONT = {("stream", "run"), ("stream", "broker"), PASSES_ON}  # run until they are stopped, and have no result


def commands(group, path=()):
    """The words of each command, with its parameters."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command.params


GROUP = typer.main.get_command(cli.app)
ALL = dict(commands(GROUP))
ERRORS = [
    ZeroDivisionError("oh"),
    MemoryError(),
    RecursionError("deep"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "?"),
]


def needed(params):
    """Words for all that a command cannot do without."""
    for param in (one for one in params if one.required):
        yield from (["x"] if param.param_type_name == "argument" else [param.opts[0], "x"])


@pytest.fixture
def fail(monkeypatch, capsys, tmp_path):
    """Run a command that must fail; its exit status and its object."""
    monkeypatch.setenv("TAILRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cli, "app", GROUP)  # which is made anew by each call otherwise

    def fail(*arguments):
        monkeypatch.setattr(sys, "argv", ["tailrace", *arguments, "--json"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, json.loads(capsys.readouterr().out)

    return fail


def test_every_command_that_has_a_result_takes_json():
    assert {words for words, params in ALL.items() if all("--json" not in one.opts for one in params)} == IN_FRONT


@pytest.mark.parametrize("words", [words for words in ALL if words != PASSES_ON], ids=" ".join)
def test_a_wrong_option_is_an_object(fail, words):
    code, shown = fail(*words, "--no-such-option")

    assert code == 2
    assert "--no-such-option" in shown["error"]


@pytest.mark.parametrize(
    ("words", "error"),
    [*((words, ERRORS[0]) for words in ALL if words not in IN_FRONT), *((("runs",), error) for error in ERRORS[1:])],
    ids=repr,
)
def test_an_error_that_nobody_foresaw_is_an_object_with_its_log(fail, monkeypatch, words, error):
    def invoke(*_):
        raise error

    monkeypatch.setattr(TyperCommand, "invoke", invoke)

    code, shown = fail(*words, *needed(ALL[words]))

    assert code == 1
    assert type(error).__name__ in shown["error"]
    assert shown["log"]


def test_a_setting_that_cannot_be_read_is_an_object(fail, monkeypatch):
    monkeypatch.setenv("TAILRACE_RETENTION_HOURS", "soon")

    _, shown = fail("features", "list")

    assert "TAILRACE_RETENTION_HOURS" in shown["error"]
