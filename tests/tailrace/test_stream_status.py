"""`tailrace stream status`: what it tells of a heartbeat, and how it ends."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from jobs.streaming.checkpoint import ExcludedFiles, Parked, checkpoint_of
from jobs.streaming.heartbeat import Heartbeat, RunsAlready, exclusive, file_of
from tailrace.cli import app as cli
from tailrace.cli.stream import words
from tailrace.definitions import STREAM, load_definitions
from tailrace.lake.atomic_file import put
from tailrace.settings import read_settings
from tailrace.store import embedded
from tailrace.store.address import Address
from tailrace.store.dynamodb.store import DynamoStore, ensure_table
from tailrace.store.writer import Outcome
from tailrace.workspace.stream_status import NAMED
from tests.store_client import with_client

VIEWS = ("actor_document_recent", "document_recent")  # both want 10 s
NOW = 1_772_355_600.0


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store in which both views had a micro-batch three seconds ago, as the variable that names it."""
    settings = read_settings({"TAILRACE_HOME": str(tmp_path_factory.mktemp("store"))})
    address = Address.of(settings)
    features = load_definitions().views

    async def bring(client):
        await ensure_table(client)
        for view in VIEWS:
            taken = await DynamoStore(client).take_lease(view, owner=f"stream {view}", seconds=30, lane=STREAM)
            assert taken
            watermark = round((NOW - 3) * 1e6)
            await DynamoStore(client).close_push(
                view,
                sequence=taken.sequence,
                cursor=None,
                watermark=watermark,
                features=features[view].features,
            )

    with_client(address, bring)
    yield address.url
    embedded.stop(settings)


@pytest.fixture
def tell(tmp_path, monkeypatch, store):
    """The exit code and the answer to a heartbeat, of a stream that runs or has ended."""

    def go(heartbeat, *words, running=True, url=store):
        monkeypatch.setenv("TAILRACE_HOME", str(tmp_path))
        monkeypatch.setenv("TAILRACE_STORE_URL", url)
        monkeypatch.setattr("tailrace.workspace.stream_status.time", SimpleNamespace(time=lambda: NOW))
        put(file_of(tmp_path), json.dumps(asdict(heartbeat)))
        arguments = ["stream", "status", "--json", *words]
        if not running:
            result = CliRunner().invoke(cli.app, arguments)
        else:
            with exclusive(tmp_path):
                result = CliRunner().invoke(cli.app, arguments)
        return result.exit_code, json.loads(result.stdout.splitlines()[-1])

    return go


def heartbeat(*, lag=2.0, silent=1.0, **changed):
    told = {"pid": 77, "began": NOW - 600, "written": NOW - silent, "follows": True, "batch": 7, "behind": 0}
    return Heartbeat(**told | {"caught_up_to": NOW - lag} | changed)


def test_a_stream_that_is_up_to_date_is_healthy(tell):
    code, told = tell(heartbeat())

    assert (code, told["why"]) == (0, [])
    assert (told["running"], told["pid"], told["batch"], told["behind"]) == (True, 77, 7, 0)
    assert told["lag_seconds"] == 2
    view = told["views"]["document_recent"]
    assert (view["freshness_seconds"], view["lags"]) == (10, False)
    assert view["watermark_age_seconds"] == 3


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (lambda: heartbeat(lag=40), ["it lags 40", "actor_document_recent 10 s, document_recent 10 s"]),
        (lambda: heartbeat(caught_up_to=None), ["it has not caught up with its source yet"]),
        (lambda: heartbeat(silent=30), ["it has reported nothing for 30"]),
        (lambda: heartbeat(lag=40).failing("no store", now=1.0), ["it lags", "no store"]),
    ],
    ids=["lags", "has never caught up", "hangs", "fails"],
)
def test_one_that_is_not_fails_and_says_why(tell, found, why):
    code, told = tell(found())

    assert code == 1
    assert all(words in "\n".join(told["why"]) for words in why)


def test_one_that_failed_a_moment_ago_is_healthy_and_says_what_failed(tell):
    code, told = tell(heartbeat(lag=4).failing("no store", now=NOW))

    assert (code, told["error"]) == (0, "no store")


def test_messages_behind_an_open_transaction_are_counted_and_are_a_reason_once_it_lags(tell):
    assert [tell(heartbeat(waiting=3))[1][name] for name in ("waiting", "why")] == [3, []]
    assert "3 messages wait behind open transactions" in tell(heartbeat(lag=40, waiting=3))[1]["why"][1]


def test_files_that_were_left_out_are_counted_and_the_last_are_named_with_what_to_do(tell, tmp_path):
    left_out = ExcludedFiles(checkpoint_of(tmp_path))
    left_out.add({f"{number}.jsonl": "the file holds gzip; unpack it" for number in range(NAMED)})
    left_out.add({"0.jsonl": "again", "last.jsonl": "a pipe; land a file"})

    code, told = tell(heartbeat())

    assert (code, told["left_out"]["count"]) == (0, NAMED + 1)
    assert [one["file"] for one in told["left_out"]["files"][-2:]] == [f"{NAMED - 1}.jsonl", "last.jsonl"]
    assert len(told["left_out"]["files"]) == NAMED
    assert f"{NAMED + 1} files were left out so far, the last of them last.jsonl: a pipe; land a file" in words(told)


def test_a_parked_key_fails_it_with_view_key_and_reason_however_young_it_is(tell, tmp_path):
    outcome = Outcome(refused=1, failed=[("document|2:d1", "ValidationException: too large")])
    Parked(checkpoint_of(tmp_path)).park("document_recent", outcome, {"document|2:d1": 29_929_500})

    code, told = tell(heartbeat(catching_up_since=NOW), "--grace", "120")

    assert (code, told["parked"][0]["key"]) == (1, "document|2:d1")
    words = ("document_recent", "document|2:d1", "2026-11-27T09:00:00Z", "too large", "`tailrace rebuild`")
    assert all(word in told["why"][0] for word in words)


def test_one_that_has_ended_fails_and_says_of_what_where_that_is_known(tell):
    code, told = tell(heartbeat(), running=False)

    assert (code, told["running"], told["pid"]) == (1, False, None)
    assert "`tailrace stream start` starts it" in told["why"][0]
    _, failed = tell(heartbeat().failing("the topic was made anew", now=1.0), running=False)
    assert failed["why"][1:] == ["the topic was made anew"]


def test_one_that_has_begun_again_may_be_left_some_time_to_catch_up(tell):
    found = heartbeat(lag=500, follows=False, catching_up_since=NOW - 20)

    assert tell(found)[0] == 1
    assert tell(found, "--grace", "120")[0] == 0
    assert tell(found, "--grace", "10")[0] == 1
    assert tell(found, "--grace", "120", running=False)[0] == 1
    assert tell(replace(found, catching_up_since=None), "--grace", "120")[0] == 1


def test_a_store_that_is_away_is_said_and_not_started(tell, monkeypatch):
    monkeypatch.setattr("tailrace.workspace.stream_status.STORE_SECONDS", 0.2)
    code, told = tell(heartbeat(), url="http://127.0.0.1:1")

    assert code == 1
    assert "Unreachable" in told["why"][-1]


def test_where_no_stream_ever_ran_that_is_said(tell, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TAILRACE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["tailrace", "stream", "status"])
    with pytest.raises(SystemExit) as end:
        cli.main()

    assert end.value.code == 1
    assert "no stream has run yet" in capsys.readouterr().err


def test_of_one_home_one_stream_runs_at_a_time(tmp_path):
    with exclusive(tmp_path), pytest.raises(RunsAlready, match="runs already"), exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass
