"""The whole measurement, made very small: a real store, a real reader, and no peer."""

from dataclasses import replace
from io import StringIO

import orjson
import pytest
from rich.console import Console

from bench.measured import QUICK, Size
from bench.peer_feast import Feast, PeerMissing
from bench.readers import serving_home
from bench.serving import AIMS, ServingBench
from tailrace.cli.bench_tables import serving_tables
from tailrace.store import embedded

SIZES = (Size(keys=1, rate=50, seconds=0.5, in_flight=4), Size(keys=100, rate=20, seconds=1, in_flight=4))
PLAN = replace(QUICK, ours=SIZES, saturated_seconds=0.5, format_seconds=0.5, canned_seconds=0.5, crowded_seconds=0.5)


def make_bench(settings, **changed):
    bench = ServingBench(
        settings=serving_home(settings, documents=2_000),
        plan=PLAN,
        documents=2_000,
        workers=1,
        formats=("application/json", "application/unheard-of"),
        progress=list[str]().append,
    )
    return replace(bench, **changed)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_all_that_is_sent_is_answered_and_the_figures_are_there(make_settings):
    bench = make_bench(make_settings())

    shown = orjson.loads(orjson.dumps(bench.run()))

    assert [(line["of"], line["keys"]) for line in shown["table"]] == [
        ("tailrace", 1),
        ("limit", 1),
        ("tailrace", 100),
        ("limit", 100),
    ]
    assert all(line["p50_ms"] > 20 for line in shown["table"])
    ours, limit = shown["table"][:2]
    assert ours["requests"] == limit["requests"] > 0  # at one rate, which a busy machine lowers
    assert shown["sent"] == shown["answered"] > 0
    assert [one["accept"] for one in shown["formats"]] == ["application/json"]
    assert shown["ratio_to_feast"] is None
    assert shown["feast"] == {"missing": "left out"}
    assert all(shown[name] > 0 for name in AIMS if name.endswith(("canned", "mb", "cpu_ms_100")))
    assert AIMS.keys() <= shown.keys()
    assert shown["canned"]["beside"]["requests"] == 30
    assert embedded.status(bench.settings) is None

    printed = StringIO()
    console = Console(file=printed, width=200)
    for table in serving_tables(shown):
        console.print(table)
    assert "Feast was not measured: left out" in printed.getvalue()


@pytest.fixture
def without_network(monkeypatch, tmp_path):
    """uv has no packages and asks nobody for them."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
def test_a_peer_that_cannot_be_installed_is_missing(without_network, tmp_path):
    feast = Feast(folder=tmp_path / "feast", region="us-east-1", documents=10)

    with pytest.raises(PeerMissing, match="pip sync"):
        feast.prepare("http://127.0.0.1:1")

    assert not (tmp_path / "feast" / "env" / "installed").exists()


@pytest.mark.slow
def test_the_measurement_goes_on_without_a_peer_and_says_why(without_network, make_settings):
    told: list[str] = []
    bench = make_bench(make_settings(), plan=replace(PLAN, peer=SIZES), progress=told.append)

    peer = bench.peer("http://127.0.0.1:1", "http://127.0.0.1:1", b"")

    assert list(peer) == ["missing"]
    assert told[-1] == f"without Feast: {peer['missing']}"
