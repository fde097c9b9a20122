"""`GET /metrics`: what all processes counted, as Prometheus reads it."""

import asyncio
import itertools
import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from serving.telemetry.metrics import BLOCK_COUNTERS, GAUGES, HISTOGRAM, Counters, SharedMetrics
from tailrace.shipped.actor_activity import actor_activity
from tests.serving.conftest import entity_keys
from tests.serving.processes import served, until

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
ASKED = {"features": ["actor_activity:events_7d"], "entities": {"actor_id": ["a0", "a1", "a2"]}}
STAGES = {"receive", "parse", "store", "decode", "on_demand", "write"}


@pytest.fixture(autouse=True)
def one_of_the_actors(store):
    store.put(actor_activity, {"actor_id": "a0"}, {"events_7d": 7}, as_of=NINE)


@pytest.fixture
def samples(reader):
    return lambda: samples_of(reader)


def samples_of(reader):
    """Every sample by its name and the values of its labels, in the order of their names."""

    async def read():
        async with reader.client.get("/metrics") as answer:
            return await answer.text()

    families = text_string_to_metric_families(reader.runner.run(read()))
    return {
        (one.name.removeprefix("tailrace_reader_"), *one.labels.values()): one.value
        for family in families
        for one in family.samples
    }


def test_requests_are_counted_by_path_and_status(reader, samples):
    reader.ask(**ASKED)
    reader.refusal(features=["nothing"], entities={"actor_id": ["a0"]})
    for path in ("/no/such/path", "/nor/this"):
        reader.runner.run(reader.client.get(path))

    told = samples()

    assert told["requests_total", "/get-online-features", "200"] == 1
    assert told["requests_total", "/get-online-features", "400"] == 1
    assert told["requests_total", "other", "404"] == 2


def test_rows_are_counted_by_what_became_of_them(reader, samples):
    reader.ask(**ASKED)
    reader.ask(**ASKED)

    told = samples()

    assert told["rows_asked_total",] == 6
    assert told["rows_total", "FOUND", "actor_activity"] == 2
    assert told["rows_total", "NOT_FOUND", "actor_activity"] == 4
    assert ("rows_total", "TIMEOUT", "actor_activity") not in told
    assert told["store_keys_total",] == 6
    assert told["store_reads_total", "first"] == 2


def test_each_stage_and_the_whole_have_their_times(reader, samples):
    reader.ask(**ASKED)

    told = samples()

    assert {name[1] for name in told if name[0] == "stage_seconds_count"} == STAGES
    assert all(
        told["stage_seconds_count", stage] == told["stage_seconds_bucket", "+Inf", stage] == 1 for stage in STAGES
    )
    assert told["request_seconds_count",] == told["request_seconds_bucket", "+Inf"] == 1
    stages = sum(told["stage_seconds_sum", stage] for stage in STAGES)
    assert told["request_seconds_sum",] == pytest.approx(stages)


def test_a_histogram_counts_a_time_in_every_bucket_that_is_long_enough():
    counters = Counters(SharedMetrics(1))

    for seconds in (0.00005, 0.0001, 0.003, 7.0):
        counters.observe(("stage_seconds", "parse"), seconds)

    [(series, values)] = counters.shared.totals().items()
    assert series == ("stage_seconds", "parse")
    assert [place for place, count in enumerate(values[:-1]) if count] == [0, 5, HISTOGRAM - 2]
    assert values[0] == 2
    assert values[-1] == pytest.approx(7.00315)


def test_retries_hedges_and_rows_that_timed_out_are_counted(store, behind, start_reader, definitions):
    calls = itertools.count()

    async def fail_once_and_hang_once(_, __, body):
        if entity_keys(body):
            number = next(calls)
            if number == 0:
                return web.json_response({"__type": "x#InternalServerError", "message": "again"}, status=500)
            if number >= 66:  # by then it is known how long a read takes
                await asyncio.sleep(30)
        return None

    reader = start_reader(definitions, behind(fail_once_and_hang_once).url)
    for _ in range(65):
        reader.ask(**ASKED)
    hedged_before = samples_of(reader).get(("store_reads_total", "hedge"), 0)
    reader.send("POST", "/get-online-features", json=ASKED, headers={"Tailrace-Budget-Ms": "300"})

    told = samples_of(reader)

    assert told["store_reads_total", "first"] == 66
    assert told["store_reads_total", "retry"] == 1
    assert told["store_reads_total", "hedge"] == hedged_before + 1
    assert told["rows_total", "TIMEOUT", "actor_activity"] == 3


def test_refusals_for_want_of_a_place_are_counted_and_requests_at_once_end(store, behind, start_reader, definitions):
    held = asyncio.Event()

    async def hold(_, __, body):
        if entity_keys(body):
            await held.wait()

    reader = start_reader(definitions, behind(hold).url, at_once=1)

    async def crowd():
        first = asyncio.create_task(reader.exchange("POST", "/get-online-features", json=ASKED))
        await asyncio.sleep(0.1)
        refused = await reader.exchange("POST", "/get-online-features", json=ASKED)
        async with reader.client.get("/metrics") as answer:
            during = await answer.text()
        held.set()
        await first
        return refused[0], during

    status, during = reader.runner.run(crowd())
    told = samples_of(reader)

    assert status == 503
    assert "\ntailrace_reader_requests_at_once 1.0\n" in during
    assert (told["sheds_total",], told["requests_at_once",]) == (1, 0)


def test_watermarks_and_ages_of_views_are_told(store, start_reader, definitions):
    hour_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    store.push(actor_activity, watermark=hour_ago)

    before = time.time()
    told = samples_of(start_reader(definitions))

    assert told["view_watermark_seconds", "actor_activity"] == hour_ago.timestamp()
    assert before <= hour_ago.timestamp() + told["view_age_seconds", "actor_activity"] <= time.time()
    assert told["store_readable",] == 1
    assert told["build_info", definitions.files, "0.1.0"] == 1


def test_unreadable_values_are_counted_by_view(store, reader, samples):
    store.put_raw(actor_activity, {"actor_id": "a1"}, b"no value at all")

    reader.ask(**ASKED)

    assert samples()["unreadable_values_total", "actor_activity"] == 1


def test_openmetrics_is_told_to_who_accepts_it(reader):
    async def read():
        async with reader.client.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as answer:
            return answer.content_type, await answer.text()

    content_type, text = reader.runner.run(read())

    assert content_type == "application/openmetrics-text"
    assert text.endswith("# EOF\n")


def count_in(shared, block):
    counters = Counters(shared, block)
    for view in ("a", "b"):
        counters.add(("rows", view, "FOUND"), 2)
    counters.add(("workers",))


def test_what_processes_counted_is_summed_and_outlives_them():
    shared, context = SharedMetrics(3), multiprocessing.get_context("spawn")
    for block in (1, 2, 1):  # the last takes the place of the first
        process = context.Process(target=count_in, args=(shared, block))
        process.start()
        process.join()
        assert process.exitcode == 0
    assert shared.totals() == {("rows", "a", "FOUND"): [6.0], ("rows", "b", "FOUND"): [6.0], ("workers",): [3.0]}

    shared.clear(1, GAUGES)

    assert shared.totals()["workers",] == [1.0]
    assert shared.totals()["rows", "a", "FOUND"] == [6.0]


def test_a_board_that_is_full_counts_on_what_it_knows():
    counters = Counters(SharedMetrics(2), 1)
    for number in range(BLOCK_COUNTERS):
        counters.add(("rows", str(number), "FOUND"))
    counters.observe(("stage_seconds", "parse"), 1.0)
    counters.add(("rows", "0", "FOUND"))

    totals = counters.shared.totals()

    assert totals["rows", "0", "FOUND"] == [2.0]
    assert len(totals) < BLOCK_COUNTERS


@pytest.mark.slow
def test_no_count_is_lost_when_workers_are_killed(settings, store, tmp_path):
    health = 'tailrace_reader_requests_total{path="/health",status="200"}'
    with served(settings, tmp_path) as running:
        counts = []
        for killed in range(1, 4):
            for _ in range(10):
                running.get("/health")
            counts.append(running.metric(health))
            running.workers()[0].kill()
            until(partial(has_lost, running, killed))
            counts.append(running.metric(health))
        until(lambda: running.metric("tailrace_reader_workers") == 2)

    assert counts == [10, 10, 20, 20, 30, 30]


def has_lost(running, killed):
    return running.metric('tailrace_reader_worker_ends_total{exit_code="-9"}') == killed and len(running.workers()) == 2
