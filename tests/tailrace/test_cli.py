"""The command line without Spark: what it prints for programs, and how it tells errors."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.main import get_group
from typer.testing import CliRunner

from tailrace.cli import app as cli
from tailrace.cli import failures
from tailrace.cli import features as feature_commands
from tailrace.cli.app import MODULES
from tailrace.cli.output import plain_table, show
from tailrace.definitions import load_definitions
from tailrace.lake import session
from tailrace.settings import read_settings
from tailrace.store import embedded
from tailrace.workspace.workspace import Workspace

CHECKOUT = Path(cli.__file__).parents[2]
HEAVY = ("pyspark", "pandas", "numpy", "pyarrow", "sqlglot", "aiohttp", "airflow")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A home of its own in which nothing may start Spark."""
    for name in [name for name in os.environ if name.startswith("TAILRACE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TAILRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(session, "open_session", lambda _: pytest.fail("Spark was started"))
    yield tmp_path / "home"
    embedded.stop(read_settings({"TAILRACE_HOME": str(tmp_path / "home")}))


def run(*arguments):
    """The last line of a command that must succeed, as JSON."""
    result = CliRunner().invoke(cli.app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def fail(monkeypatch, capsys):
    """Run a command that must fail as `tailrace` does; its standard output and its lines on the error stream."""

    def fail(*arguments):
        monkeypatch.setattr(sys, "argv", ["tailrace", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 1
        told = capsys.readouterr()
        return told.out, told.err.splitlines()

    return fail


def test_features_are_listed_as_one_object():
    shown = run("features", "list")

    definitions = load_definitions()
    assert list(shown) == ["views", "on_demand", "services", "undefined"]
    assert list(shown["views"]) == list(definitions.views)
    for name, view in definitions.views.items():
        assert [feature["name"] for feature in shown["views"][name]["features"]] == list(view.public_names)
    assert shown["views"]["actor_document_affinity"]["keys"] == ["actor_id", "document_id"]


def test_features_are_listed_for_people_too():
    result = CliRunner().invoke(cli.app, ["features", "list"])

    assert result.exit_code == 0
    assert all(name in result.stdout for name in load_definitions().views)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("actor_activity", "views"), ("edit_trend", "on_demand"), ("ranker", "services")],
)
def test_one_definition_is_shown_with_its_kind(name, kind):
    shown = run("features", "show", name)

    assert (shown["kind"], shown["name"], shown["owner"]) == (kind, name, "search-ranking")


def test_a_folder_of_definitions_is_listed_beside_the_shipped_ones(monkeypatch, tmp_path):
    source = "from tailrace.shipped.ranker import ranker\nfrom dataclasses import replace\nmine = replace(ranker, name='mine')\n"
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "service.py").write_text(source)
    monkeypatch.setenv("TAILRACE_FEATURES", f"shipped:{tmp_path / 'more'}")

    assert sorted(run("features", "list")["services"]) == ["mine", "ranker"]


FAILURES = {
    "unknown definition": (("features", "show", "rankr"), "there is no 'rankr'; `tailrace features list` lists the"),
    "off the grid": (("refresh", "--as-of", "2026-01-31T09:07:00Z"), "as-of 2026-01-31T09:07:00Z is not on the 15-min"),
    "no time": (("refresh", "--as-of", "yesterday"), "'yesterday' is not a time"),
    "far future": (("refresh", "--as-of", "2962-11-28T09:00:00Z"), "beyond the next tick"),
    "far past": (("run", "gold", "--full", "--as-of", "1899-12-31T23:45:00Z"), "lies before 1900"),
    "layer off the grid": (
        ("run", "gold", "--as-of", "2026-01-31T09:07:00Z"),
        "2026-01-31T09:00:00Z and 2026-01-31T09:15",
    ),
    "layer without as-of": (
        ("run", "bronze", "--as-of", "2026-01-31T09:00:00Z"),
        "--as-of and --full go with gold; bronze takes",
    ),
    "unknown layer": (("run", "platinum"), "there is no layer 'platinum'; there are bronze, silver, gold, publish"),
    "unknown view": (("get", "actors", "u1"), "there is no view 'actors'; there are actor_activity"),
    "too few ids": (("get", "actor_document_affinity", "u1"), "is keyed by actor_id, document_id; give 2 ids"),
    "unknown source": (("get", "actor_activity", "u1", "--from", "silver"), "--from silver is not known; take gold or"),
    "unknown view to export": (("export", "actors", "--out", "/nowhere/x"), "there is no view 'actors'"),
    "folder that exists": (("export", "actor_activity", "--out", "/"), "/ exists; give a folder that does not"),
    "two sources": (("demo", "--git", "/a", "--events", "/b"), "give --git or --events, not both"),
    "no repository": (("events", "from-git", "/nowhere", "--out", "/nowhere/x"), "/nowhere: not a git repository"),
    "empty workspace": (("events", "generate", "--out", "/nowhere/x", "--documents", "0"), "documents is 0"),
    "end off the grid": (
        ("events", "generate", "--out", "/nowhere/x", "--end", "2026-01-31T09:07:00Z"),
        "not on the 15",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_told_in_one_line_and_before_spark_starts(fail, arguments, said):
    out, lines = fail(*arguments)

    assert out == ""
    assert [line for line in lines if line.startswith("tailrace: ")] == lines[-1:]
    assert said in lines[-1]


@pytest.mark.parametrize(("arguments", "said"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_told_to_programs_as_an_object(fail, arguments, said):
    out, _ = fail(*arguments, "--json")

    told = json.loads(out.splitlines()[-1])
    assert list(told) == ["error"]
    assert said in told["error"]


@pytest.mark.parametrize("command", [("refresh",), ("run", "gold")])
def test_a_test_of_the_future_may_take_any_time(monkeypatch, command):
    def started(_):
        raise LookupError("Spark was started")

    monkeypatch.setattr(session, "open_session", started)

    result = CliRunner().invoke(cli.app, [*command, "--as-of", "2962-11-28T09:00:00Z", "--any-as-of"])

    assert "Spark was started" in str(result.exception)


@pytest.mark.parametrize("name", ["[/bold]", "[red]x[/red]", "a[b]c", ":warning:"])
def test_a_failure_is_told_word_by_word_whatever_brackets_it_holds(fail, name):
    out, lines = fail("features", "show", name, "--json")

    assert json.loads(out)["error"].startswith(f"there is no {name!r};")
    assert f"there is no {name!r};" in lines[-1]


def test_a_setting_that_is_not_known_is_told_like_any_failure(fail, monkeypatch):
    monkeypatch.setenv("TAILRACE_LANDNIG", "/x")

    _, [line] = fail("features", "list")

    assert line == "tailrace: TAILRACE_LANDNIG is not a setting of Tailrace; did you mean TAILRACE_LANDING?"


def test_a_broken_definition_is_told_like_any_failure(fail, monkeypatch, tmp_path):
    (tmp_path / "broken.py").write_text("raise KeyError('oh')")
    monkeypatch.setenv("TAILRACE_FEATURES", str(tmp_path))

    _, [line] = fail("features", "list")

    assert line == f"tailrace: {tmp_path}/broken.py: KeyError: 'oh'"


def test_an_output_that_is_a_file_is_told_like_any_failure(fail, tmp_path):
    (tmp_path / "file").write_text("kept")

    _, lines = fail("events", "generate", "--out", str(tmp_path / "file"), "--documents", "3", "--days", "2")

    assert str(tmp_path / "file") in lines[-1]


class Java:
    """An exception of Java's as Python has it."""

    def __init__(self, text, cause=None):
        self.text, self.cause = text, cause

    def toString(self):  # noqa: N802
        return self.text

    def getCause(self):  # noqa: N802
        return self.cause


class FromJava(Exception):
    """As Py4J and PySpark raise them: pages of text, with Java's exception beside it."""

    def __init__(self, java):
        super().__init__("An error occurred while calling o1.save.\n: java.lang.Oh\n" + "\tat java.base/x\n" * 99)
        self.java_exception = java


ENDED = Java("java.io.EOFException: Unexpected end of input stream")
READ = "org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] Encountered error while reading file file://{}. SQLSTATE: KD001"
UNFORESEEN = {
    "a defect": (lambda _: ZeroDivisionError("division by zero"), ["ZeroDivisionError: division by zero"]),
    "no words": (lambda _: ValueError(), ["ValueError"]),
    "a number": (lambda _: OverflowError("date value out of range"), ["OverflowError: date value out of range"]),
    "a landed file": (
        lambda home: FromJava(Java(READ.format(f"{home}/landing/events/b%20c.gz"), ENDED)),
        ["SparkException: [FAILED_READ_FILE.NO_HINT]", "events/b c.gz", "Unexpected end of input stream"],
    ),
    "a table": (
        lambda home: FromJava(
            Java(f"java.io.FileNotFoundException: File file:{home}/lake/gold/views/x.parquet is gone")
        ),
        ["FileNotFoundException", "gold.views"],
    ),
    "a table of Delta's": (
        lambda home: FromJava(Java(f"AnalysisException: delta.`{home}/lake/silver/interactions` has no column x")),
        ["silver.interactions"],
    ),
    "a setting": (
        lambda _: FromJava(Java("java.lang.OutOfMemoryError: Java heap space")),
        ["TAILRACE_SPARK_MEMORY"],
    ),
    "what it comes from": (
        lambda _: caused(RuntimeError("outer"), KeyError("inner")),
        ["outer", "KeyError: 'inner'"],
    ),
}


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(("make", "said"), UNFORESEEN.values(), ids=UNFORESEEN)
def test_an_error_nobody_foresaw_is_one_line_an_object_and_a_log(fail, monkeypatch, home, make, said):
    def raise_it(_):
        raise make(home)

    monkeypatch.setattr(feature_commands, "catalogue", raise_it)

    out, [line] = fail("features", "list", "--json")

    told = json.loads(out)
    assert line == f"tailrace: {told['error']}"
    assert [words for words in said if words not in told["error"]] == []
    assert told["log"] in told["error"]
    [log] = (home / "logs").iterdir()
    assert str(log) == told["log"]
    assert "raise_it" in log.read_text()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("s3a://bucket/lake/gold/views/part-0.parquet: 403", ["gold.views"]),
        ("reading file:///x/my%20home%20%231/landing/events/a%20b.gz.", ["events/a b.gz"]),
        ("/x/my home #1/landing/documents/d.jsonl (Permission denied)", ["documents/d.jsonl"]),
        ("s3a://bucket/lakeside/gold/views and /x/my home #1/landings/events/a", []),
        ('No FileSystem for scheme "s3"', ["TAILRACE_LAKE, TAILRACE_LANDING"]),
    ],
)
def test_what_an_error_is_about_is_found_however_java_spells_it(text, named):
    settings = replace(read_settings({}), lake="s3a://bucket/lake", landing="/x/my home #1/landing")

    assert failures.names_in(text, settings) == named


def test_logs_of_a_command_that_fails_for_ever_do_not_pile_up(fail, monkeypatch, home):
    monkeypatch.setattr(failures, "KEPT_LOGS", 2)
    monkeypatch.setattr(feature_commands, "catalogue", lambda _: 1 / 0)

    logs = [json.loads(fail("features", "list", "--json")[0])["log"] for _ in range(4)]

    assert sorted(map(str, (home / "logs").iterdir())) == sorted(logs[-2:])


def test_a_home_that_cannot_be_written_leaves_the_log_elsewhere(fail, monkeypatch, home, tmp_path):
    home.write_text("a file")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))
    monkeypatch.setattr(feature_commands, "catalogue", lambda _: 1 / 0)

    out, _ = fail("features", "list", "--json")

    assert Path(json.loads(out)["log"]).parent == tmp_path / "temporary" / "tailrace-logs"


def test_an_error_is_reported_where_no_log_can_be_written(fail, monkeypatch, home, tmp_path):
    home.write_text("a file")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(home))
    monkeypatch.setattr(feature_commands, "catalogue", lambda _: 1 / 0)

    out, lines = fail("features", "list", "--json")

    assert "ZeroDivisionError" in json.loads(out)["error"]
    assert "log" not in json.loads(out)
    assert "Traceback (most recent call last):" in lines


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("features", "list", "--nope"), "No such option: --nope"),
        (("get", "--json"), "Missing argument"),
        (("nothing",), "No such command 'nothing'"),
        (("runs", "--last", "x"), "'--last'"),
    ],
)
def test_a_wrong_option_is_an_object_too(monkeypatch, capsys, arguments, said):
    monkeypatch.setattr(sys, "argv", ["tailrace", *arguments, "--json"])

    with pytest.raises(SystemExit) as end:
        cli.main()

    assert end.value.code == 2
    assert said in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt, 130), (typer.Abort, 1)])
def test_a_command_that_is_interrupted_says_so(monkeypatch, capsys, raised, code):
    def stop(_):
        raise raised

    monkeypatch.setattr(feature_commands, "catalogue", stop)
    monkeypatch.setattr(sys, "argv", ["tailrace", "features", "list", "--json"])

    with pytest.raises(SystemExit) as end:
        cli.main()

    assert end.value.code == code
    assert list(json.loads(capsys.readouterr().out)) == ["error"]


def test_events_are_generated_and_counted(tmp_path):
    arguments = ("--documents", "30", "--actors", "4", "--days", "3", "--seed", "5", "--end", "2026-03-01T09:00:00Z")

    shown = run("events", "generate", "--out", str(tmp_path / "one"), *arguments)
    again = run("events", "generate", "--out", str(tmp_path / "two"), *arguments)

    files = {path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one").rglob("*.gz")}
    assert shown.pop("out") == str(tmp_path / "one")
    assert again.pop("out") == str(tmp_path / "two")
    assert shown == again
    assert (shown["documents"], shown["files"], shown["end"]) == (30, len(files), "2026-03-01T09:00:00Z")
    assert shown["events"] >= 22
    assert files == {path.relative_to(tmp_path / "two"): path.read_bytes() for path in (tmp_path / "two").rglob("*.gz")}


def test_events_that_landed_already_are_not_landed_over(fail, tmp_path):
    arguments = (
        "events",
        "generate",
        "--out",
        str(tmp_path),
        "--documents",
        "3",
        "--days",
        "2",
        "--end",
        "2026-03-01T09:00",
    )
    run(*arguments)

    _, lines = fail(*arguments)

    assert "is there already, and landed files never change" in lines[-1]


def test_events_are_made_of_a_git_history(tmp_path):
    variables = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
    for role in ("AUTHOR", "COMMITTER"):
        variables |= {f"GIT_{role}_NAME": "Ada", f"GIT_{role}_EMAIL": "ada@example.org"}
    repository = tmp_path / "atlas"
    repository.mkdir()
    (repository / "map.md").write_text("here")
    (repository / "key.md").write_text("there")
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=repository, env=variables, check=True)

    shown = run("events", "from-git", str(repository), "--out", str(tmp_path / "landed"))

    assert shown == {"events": 2, "documents": 2, "files": 2, "out": str(tmp_path / "landed")}
    assert sorted(path.name for path in (tmp_path / "landed").rglob("*.gz")) == ["atlas.jsonl.gz"] * 2


def test_the_store_is_started_found_and_stopped():
    assert run("store", "status") == {"running": False}

    started = run("store", "start")
    again = run("store", "start")
    found = run("store", "status")
    stopped = run("store", "stop")

    assert started == again == found == {"running": True, "url": started["url"], "pid": started["pid"]}
    assert stopped == {"running": False, "stopped": True}
    assert run("store", "stop") == {"running": False, "stopped": False}
    assert run("store", "status") == {"running": False}


@pytest.mark.parametrize("action", ["start", "stop", "status"])
def test_a_store_elsewhere_is_not_ours_to_run(fail, monkeypatch, action):
    monkeypatch.setenv("TAILRACE_STORE_URL", "http://store.example:8000")

    out, lines = fail("store", action, "--json")

    assert "a store that Tailrace does not run; unset it" in json.loads(out)["error"]
    assert len(lines) == 1


def test_a_row_of_a_store_without_tables_is_told_like_any_failure(fail):
    out, _ = fail("get", "actor_activity", "u1", "--json")

    assert json.loads(out)["error"].startswith("online store: ResourceNotFoundException")


def test_a_demo_in_a_home_of_others_is_refused_before_anything_is_touched(fail, home):
    (home / "lake").mkdir(parents=True)
    (home / "lake" / "table").write_text("kept")

    out, _ = fail("demo", "--json")

    assert f"{home} holds lake that are not the demo's" in json.loads(out)["error"]
    assert (home / "lake" / "table").read_text() == "kept"


def test_a_demo_of_events_that_are_not_there_leaves_the_last_one_alone(fail, home, tmp_path):
    (home / "lake").mkdir(parents=True)
    (home / ".tailrace-demo").write_text("")
    (home / "lake" / "table").write_text("kept")

    fail("demo", "--events", str(tmp_path / "gone.jsonl"))

    assert (home / "lake" / "table").read_text() == "kept"


def test_the_parts_of_a_home_are_opened_only_when_they_are_needed(home):
    here = Workspace(settings=read_settings())

    assert here.definitions.views
    assert not home.exists()


def test_the_installed_command_ends_with_its_object_and_its_status(tmp_path):
    command = [sys.executable, "-m", "tailrace", "features", "show", "nothing", "--json"]
    variables = {"PATH": os.environ["PATH"], "TAILRACE_HOME": str(tmp_path)}

    done = subprocess.run(command, cwd=CHECKOUT, env=variables, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert list(json.loads(done.stdout.splitlines()[-1])) == ["error"]
    assert len(done.stderr.splitlines()) == 1


def test_a_value_is_shown_to_people_word_by_word_whatever_brackets_it_holds(capsys):
    show(
        {}, plain_table("actors [a]", ("feature", "value"), [("owner", "[ada]"), ("kind", "[/x] :key:")]), as_json=False
    )

    shown = capsys.readouterr().out
    assert "actors [a]" in shown
    assert "[ada]" in shown
    assert "[/x] :key:" in shown


def test_every_command_of_a_module_is_found_by_its_name():
    found = set()
    modules = {
        path.stem for path in Path(cli.__file__).parent.glob("*.py") if "\napp = typer.Typer(" in path.read_text()
    }
    for module in modules - {cli.__name__.rpartition(".")[2]}:
        names = {name for name, its_module in MODULES.items() if its_module == module}
        defined = set(get_group(import_module(f"tailrace.cli.{module}").app).commands)
        assert names == defined or (len(names) == 1 and not names & defined), module
        found |= names
    assert set(MODULES) == found
    help_text = CliRunner().invoke(cli.app, ["--help"]).stdout
    assert [name for name in MODULES if name not in help_text] == []


@pytest.mark.parametrize(
    ("words", "loaded"),
    [
        (("status", "--json"), []),
        (("store", "status", "--json"), []),
        (("features", "show", "document_activity", "--json"), ["sqlglot"]),
    ],
)
def test_commands_that_read_no_table_load_neither_spark_nor_the_reader(words, loaded):
    lines = (
        "import sys",
        f"sys.argv = ['tailrace', *{words!r}]",
        "from tailrace.cli import main",
        "try: main()",
        f"except SystemExit: print([name for name in {HEAVY} if name in sys.modules])",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == str(loaded)
