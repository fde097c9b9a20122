"""How Spark is set for the stream, and what it does not follow."""

import json
from dataclasses import replace

import pytest

from jobs.bronze.batches import LandingError
from jobs.streaming import progress
from jobs.streaming.checkpoint import checkpoint_of
from settings import read_settings
from tailrace.stream_process import follow, of_stream


def test_java_options_that_are_set_come_after_the_stream_s_own_and_win():
    spark = replace(read_settings({}).spark, java_options="-XX:TieredStopAtLevel=4 -Xss4m")

    assert of_stream(spark).java_options == "-XX:TieredStopAtLevel=1 -XX:TieredStopAtLevel=4 -Xss4m"


def test_a_stream_that_followed_a_folder_does_not_begin_with_a_topic(make_settings):
    settings = make_settings(TAILRACE_KAFKA="127.0.0.1:9")
    planned = checkpoint_of(settings.home) / "offsets" / "0"
    planned.parent.mkdir(parents=True)
    planned.write_text(f"v1\n{json.dumps({})}\n{json.dumps({'logOffset': 0})}")

    with pytest.raises(
        LandingError, match=r"follows a folder; unset TAILRACE_KAFKA .* go over to the topic events, stop it"
    ):
        follow(settings)

    heartbeat = progress.read(settings.home)
    assert heartbeat is not None
    assert "follows a folder" in (heartbeat.error or "")
