"""A ranker's query, asked of a real reader over HTTP."""

import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tailrace.errors import CommandError
from tailrace.local.service import PLAIN_HTTP
from tailrace.settings import Settings

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
START_SECONDS = 30
STOP_SECONDS = 20
ASKED = 50  # times, for a latency that is not the first one's


@contextmanager
def reader(settings: Settings) -> Iterator[str]:
    """A reader of this home in a process of its own; yields its address and stops it at the end."""
    command = [sys.executable, "-m", "serving", "--port", "0", "--local"]
    environment = os.environ | {"TAILRACE_HOME": str(settings.home)} | PLAIN_HTTP
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        line = process.stdout.readline() if process.stdout else ""
        address = re.search(r"http://\S+", line)
        if address is None:
            raise CommandError(f"the reader did not start; it said {line!r}")
        yield address[0]
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def ask(address: str, query: dict[str, Any], *, times: int = ASKED) -> tuple[dict[str, Any], dict[str, float]]:
    """The answer to a query, and the milliseconds that asking it several times took."""
    body = json.dumps(query).encode()
    took = []
    answer: dict[str, Any] = {}
    for _ in range(times):
        began = time.perf_counter()
        request = urllib.request.Request(f"{address}/get-online-features", data=body)
        request.add_header("Content-Type", "application/json")
        with DIRECT.open(request, timeout=START_SECONDS) as response:
            answer = json.load(response)
        took.append((time.perf_counter() - began) * 1000)
    return answer, {
        "first_ms": round(took[0], 1),
        "p50_ms": round(statistics.median(took), 1),
        "p95_ms": round(statistics.quantiles(took, n=20, method="inclusive")[-1] if times > 1 else took[0], 1),
        "asked": times,
    }
