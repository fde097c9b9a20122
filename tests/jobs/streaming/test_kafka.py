"""A real broker and the real stream, killed and started again."""

import json
import os
import socket
import subprocess
import sys

import pytest

from sinks.rows import Address
from tailrace.local import broker
from tests.conftest import SPARK
from tests.jobs.streaming.followed import opened, produce, recent_events, running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_killed_stream_goes_on_and_takes_every_event_once(make_settings):
    with socket.socket() as probe:
        probe.bind((broker.HOST, 0))
        port = probe.getsockname()[1]
    variables = {"TAILRACE_KAFKA": f"{broker.HOST}:{port}", "TAILRACE_KAFKA_PORT": str(port)}
    settings = make_settings(**variables)
    address = Address.of(settings)
    environment = os.environ | SPARK | variables | {"TAILRACE_HOME": str(settings.home)}
    stream = [sys.executable, "-m", "tailrace", "stream", "run"]
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
        bronze = [sys.executable, "-m", "tailrace", "run", "bronze", "--json"]
        loads = [json.loads(subprocess.check_output(bronze, env=environment).splitlines()[-1]) for _ in range(2)]

    assert recent_events(address, "d1") == 200
    assert [(load["events"], load["quarantined"]) for load in loads] == [(204, 1), (0, 0)]
