"""The whole measurement of the stream, made very small: a real store, broker, stream and reader, and the naive way."""

from io import StringIO

import orjson
import psutil
import pytest
from rich.console import Console

from bench.followed import streaming_home
from bench.freshness import StreamingBench
from bench.processes import command_of
from bench.timed import Measured
from tailrace.cli.bench_tables import streaming_tables
from tailrace.store import embedded


class Stream:
    """One that holds so many events a second, and what it was asked to."""

    def __init__(self, holds, *, unreadable_above=10**9):
        self.holds, self.unreadable_above, self.asked = holds, unreadable_above, []

    def at(self, rate, *, while_hopeful=False, **_):
        self.asked.append((rate, while_hopeful))
        waits = [(due / 10, 1.0 if rate <= self.holds else 9.0) for due in range(20)]
        unreadable = int(rate > self.unreadable_above)
        return Measured(rate=rate, produced_per_second=rate, waits=waits, unreadable=unreadable)


@pytest.mark.parametrize(
    ("stream", "tried"),
    [
        (Stream(1_000), [2_240, 1_500, 1_220, 1_100]),
        (Stream(30_000), [10_000, 20_000, 40_000, 28_280]),
        (Stream(5_000), [10_000, 7_070, 5_950, 5_450]),
        (Stream(5_000, unreadable_above=8_000), [10_000]),
        (Stream(1_000, unreadable_above=4_000), []),
        (Stream(10), []),
    ],
    ids=["1,000", "30,000", "5,000", "a backlog that stays", "one already", "nothing"],
)
def test_the_highest_rate_held_is_searched_for_in_four_tries_while_there_is_hope(make_settings, stream, tried):
    bench = StreamingBench(settings=make_settings(), seconds=2, progress=list[str]().append)
    fixed = [stream.at(rate) for rate in bench.rates]
    stream.asked.clear()

    searched = bench.search(stream, fixed)

    assert stream.asked == [(rate, True) for rate in tried]
    assert [one.rate for one in searched] == tried


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_events_are_read_at_the_reader_and_of_the_naive_way_and_nothing_is_left(make_settings):
    with streaming_home(make_settings()) as own:
        bench = StreamingBench(
            settings=own, seconds=2, progress=list[str]().append, rates=(50,), naive_rates=(50,), tries=0
        )
        shown = orjson.loads(orjson.dumps(bench.run()))
        assert embedded.status(own) is None

    assert not own.home.exists()
    assert [one for one in psutil.Process().children(recursive=True) if str(own.home) in command_of(one)] == []
    [line], [naive] = shown["rates"], shown["naive_rates"]
    for one in (line, naive):
        assert (one["rate"], one["unreadable"]) == (50, 0)
        assert 10 < one["measured"] <= 20
        assert 10 < one["produced_per_second"] <= 51
        assert 0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"]
    assert (shown["p50_ms_50"], shown["naive_p95_ms_50"]) == (line["p50_ms"], naive["p95_ms"])
    assert shown["naive_events_per_second"] > 0

    printed = StringIO()
    console = Console(file=printed, width=200)
    for table in streaming_tables(shown):
        console.print(table)
    assert "p95 of the naive way over this one's" in printed.getvalue()
