"""How Spark is set for the stream, and what happens where it is to follow another kind of source than before."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from jobs.streaming.checkpoint import checkpoint_of
from jobs.streaming.heartbeat import read_heartbeat, refuse_half_rebuilt
from tailrace.cli import app as cli
from tailrace.lake import session
from tailrace.lake.task_progress import say_nothing
from tailrace.local.streaming import turn_on
from tailrace.schemas.landing import LandingError
from tailrace.settings import read_settings
from tailrace.workspace.stream_process import follow, of_stream


def test_java_options_that_are_set_come_after_the_stream_s_own_and_win():
    spark = replace(read_settings({}).spark, java_options="-XX:TieredStopAtLevel=4 -Xss4m")

    one_compiler, *no_code, last, stack = of_stream(spark).java_options.split()
    assert one_compiler == "-XX:TieredStopAtLevel=1"
    assert no_code == ["-Dspark.sql.codegen.wholeStage=false", "-Dspark.sql.codegen.factoryMode=NO_CODEGEN"]
    assert (last, stack) == ("-XX:TieredStopAtLevel=4", "-Xss4m")


@pytest.fixture
def of_folder(make_settings):
    """Settings with a topic, of a home whose stream followed the landing folder."""
    settings = make_settings(TAILRACE_KAFKA="127.0.0.1:9")
    planned = checkpoint_of(settings.home) / "offsets" / "0"
    planned.parent.mkdir(parents=True)
    planned.write_text(f"v1\n{json.dumps({})}\n{json.dumps({'logOffset': 0})}")
    return settings


def test_a_stream_that_followed_a_folder_does_not_begin_with_a_topic_nor_start_spark(of_folder, monkeypatch):
    monkeypatch.setattr(session, "open_session", None)
    with pytest.raises(
        LandingError, match=r"follows a folder; unset TAILRACE_KAFKA .* go over to the topic events, stop it"
    ):
        follow(of_folder, say_nothing)

    heartbeat = read_heartbeat(of_folder.home)
    assert heartbeat is not None
    assert "follows a folder" in (heartbeat.error or "")


@pytest.fixture(params=["named", "remembered"])
def with_topic(of_folder, monkeypatch, request):
    """That home, with a topic that the variables name, or that it remembers from `up`."""
    monkeypatch.setenv("TAILRACE_HOME", str(of_folder.home))
    if request.param == "named":
        monkeypatch.setenv("TAILRACE_KAFKA", "127.0.0.1:9")
    else:
        turn_on(of_folder)
    return of_folder


@pytest.mark.parametrize("command", [["rebuild"], ["reconcile"], ["stream", "run"]], ids=" ".join)
def test_what_it_followed_is_neither_rebuilt_nor_compared_as_of_a_topic_and_nothing_is_begun(with_topic, command):
    told = CliRunner().invoke(cli.app, command)

    assert "follows a folder; unset TAILRACE_KAFKA" in str(told.exception)
    refuse_half_rebuilt(with_topic.home)
    assert not (with_topic.home / "lake").exists()
