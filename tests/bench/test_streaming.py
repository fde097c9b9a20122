"""The whole measurement of the stream, made very small: a real store, broker, stream and reader, and the naive way."""

from io import StringIO

import orjson
import psutil
import pytest
from rich.console import Console

from bench.followed import own_home
from bench.streaming import Bench
from online import embedded
from tailrace.streaming_report import streaming_tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_events_are_read_at_the_reader_and_of_the_naive_way_and_nothing_is_left(make_settings):
    with own_home(make_settings()) as own:
        bench = Bench(settings=own, seconds=2, told=list[str]().append, rates=(50,), naive_rates=(50,), tries=0)
        shown = orjson.loads(orjson.dumps(bench.run()))
        assert embedded.status(own) is None

    assert not own.home.exists()
    assert [one for one in psutil.Process().children(recursive=True) if str(own.home) in " ".join(one.cmdline())] == []
    [line], [naive] = shown["rates"], shown["naive_rates"]
    for one in (line, naive):
        assert (one["rate"], one["measured"], one["unreadable"]) == (50, 20, 0)
        assert 40 <= one["produced_per_second"] <= 51
        assert 0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"]
    assert (shown["p50_ms_50"], shown["naive_p95_ms_50"]) == (line["p50_ms"], naive["p95_ms"])
    assert shown["naive_events_per_second"] > 0

    printed = StringIO()
    console = Console(file=printed, width=200)
    for table in streaming_tables(shown):
        console.print(table)
    assert "p95 of the naive way over this one's" in printed.getvalue()
