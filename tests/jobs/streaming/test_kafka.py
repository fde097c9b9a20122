"""A real broker and the real stream, killed and started again."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import features
from sinks.lease import with_client
from sinks.rows import Address
from tailrace.local import broker
from tests.conftest import SPARK
from tests.jobs.streaming.followed import opened, produce, recent_events, running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


VIEWS = ("actor_document_recent", "document_recent")
SAME = {"missing": 0, "ghost": 0, "different": 0, "repaired": 0, "in_motion": 0}


def test_a_killed_stream_takes_every_event_once_and_so_does_the_lake_which_gives_it_back(make_settings, tmp_path):
    with socket.socket() as probe:
        probe.bind((broker.HOST, 0))
        port = probe.getsockname()[1]
    for view in VIEWS:
        shutil.copy(Path(features.__file__).with_name(f"{view}.py"), tmp_path)
    variables = {"TAILRACE_KAFKA": f"{broker.HOST}:{port}", "TAILRACE_KAFKA_PORT": str(port)}
    variables |= {"TAILRACE_FEATURES": str(tmp_path)}
    settings = make_settings(**variables)
    address = Address.of(settings)
    environment = os.environ | SPARK | variables | {"TAILRACE_HOME": str(settings.home)}
    stream = [sys.executable, "-m", "tailrace", "stream", "run"]

    def tailrace(*words):
        told = subprocess.check_output([sys.executable, "-m", "tailrace", *words, "--json"], env=environment)
        return json.loads(told.splitlines()[-1])

    with running(broker.prepare(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        produce(settings, opened(1), "no event", opened(1), opened(2))
        with running(stream, env=environment) as first:
            wait_for(address, "d1", 2)
            produce(settings, *(opened(number) for number in range(3, 200)))
            first.kill()
        produce(settings, opened(3), opened(200))
        with running(stream, env=environment):
            wait_for(address, "d1", 200)
            produce(settings, opened(5), opened(300, "end"))
            wait_for(address, "end", 1)
        loaded = tailrace("run", "bronze")
        compared = tailrace("reconcile")["views"]
        before = [recent_events(address, document) for document in ("d1", "end")]
        with_client(address, lambda client: client.call("DeleteTable", {"TableName": client.table}))
        rebuilt = tailrace("rebuild")["views"]

    assert (loaded["events"], loaded["quarantined"]) == (204, 1)
    assert compared == {view: {"compared": 2} | SAME for view in VIEWS}
    assert {view: one["written"] for view, one in rebuilt.items()} == dict.fromkeys(VIEWS, 2)
    assert before == [recent_events(address, document) for document in ("d1", "end")] == [200, 1]
