"""From loads to figures: percentiles, rates, ratios, and whether two readers answer alike."""

from dataclasses import dataclass, field

import orjson
import pytest

from bench.documents import VIEW, Unequal, equal_values, slices
from bench.measured import Sent, Size, Subject, by_turns, percentile
from bench.serving import overhead, ratio, reached

SIZE = Size(keys=100, rate=50, seconds=6, in_flight=4)
Asked = tuple[str, int, float | None, float]
SENT = Sent(sent=4, latencies=(1.0, 2.0, 3.0, 4.0), seconds=2.0, cpu_seconds=0.008, bytes=400)


@dataclass(frozen=True, kw_only=True)
class Known(Subject):
    """A subject that answers so many a second, and notes what it was asked."""

    per_second: float
    asked: list[Asked] = field(default_factory=list)

    def saturated(self, size, *, seconds):
        self.asked.append((self.name, size.keys, None, seconds))
        return Sent(sent=1, latencies=(1.0,), seconds=1 / self.per_second, cpu_seconds=0.5, bytes=100)

    def at_rate(self, size, *, rate, seconds):
        self.asked.append((self.name, size.keys, rate, seconds))
        return SENT


@pytest.mark.parametrize(
    ("part", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (0.999, 100), (0.0, 1)], ids=["50", "95", "99", "99.9", "0"]
)
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(part, value):
    assert percentile([*range(100, 0, -1)], part) == value


def test_subjects_take_turns_at_one_rate_that_the_slower_bears_with_ease():
    asked: list[Asked] = []
    quick, slow = (
        Known(name=name, url="", requests=lambda _: [], per_second=rate, asked=asked)
        for name, rate in (("quick", 1_000.0), ("slow", 100.0))
    )

    lines = by_turns((quick, slow), SIZE, rounds=2, saturated_seconds=1)

    assert asked[:2] == [("quick", 100, None, 1), ("slow", 100, None, 1)]
    assert asked[2:] == [("quick", 100, 40, 3), ("slow", 100, 40, 3)] * 2
    assert [line["of"] for line in lines] == ["quick", "slow"]
    assert lines[0] == {
        "of": "quick",
        "keys": 100,
        "rate": 40,
        "requests": 8,
        "p50_ms": 2.0,
        "p95_ms": 4.0,
        "p99_ms": 4.0,
        "p99_9_ms": 4.0,
        "sent": 9,
        "answered": 9,
        "answer_bytes": 100,
        "cpu_ms": 2.0,
        "requests_per_second": 1_000,
        "cpu_ms_saturated": 500,
    }


def test_a_server_that_bears_the_rate_is_asked_at_the_rate():
    subject = Known(name="one", url="", requests=lambda _: [], per_second=200)

    by_turns((subject,), SIZE, rounds=1, saturated_seconds=1)

    assert subject.asked[1:] == [("one", 100, 50, 6)]


def test_what_was_not_measured_has_no_figure():
    assert ratio(10, None) is None
    assert ratio(None, 10) is None
    assert overhead([{"of": "limit", "keys": 100, "p50_ms": 20.0}], "p50_ms") is None
    assert reached("ratio_to_feast", None) is None


def test_an_overhead_is_ours_less_the_limit_at_the_same_percentile():
    table = [{"of": "tailrace", "keys": 100, "p50_ms": 24.5}, {"of": "limit", "keys": 100, "p50_ms": 22.0}]

    assert overhead(table, "p50_ms") == 2.5


@pytest.mark.parametrize(
    ("name", "value", "is_reached"),
    [
        ("ratio_to_feast", 10.0, True),
        ("ratio_to_feast", 9.9, False),
        ("cpu_ms_100", 1.0, True),
        ("cpu_ms_100", 1.1, False),
    ],
)
def test_an_aim_is_reached_at_its_bound(name, value, is_reached):
    assert reached(name, value) is is_reached


def test_no_document_is_asked_for_twice_before_all_had_their_turn():
    asked = slices(300, documents=2_000)

    assert [len(ids) for ids in asked] == [300] * 6
    assert len({id_ for ids in asked for id_ in ids}) == 1_800


def answer(name, value, *, of="document_id"):
    names = [of, name]
    return orjson.dumps({"metadata": {"feature_names": names}, "results": [{"values": ["d1"]}, {"values": [value]}]})


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("events_1h", 3, 3),
        ("edit_trend", None, None),
        ("last_edit_at", "2026-03-02T10:15:00Z", 1_772_446_500),
        ("last_edit_at", "2026-03-02T10:15:00.000000Z", "2026-03-02T11:15:00+01:00"),
    ],
)
def test_equal_values_are_counted_however_a_time_is_written(name, one, other):
    assert name in VIEW.feature_names
    assert equal_values(answer(name, one), answer(name, other)) == 1


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (answer("events_1h", 3), answer("events_1h", 4), "events_1h, row 0 is 3 in one answer and 4 in the other"),
        (answer("edit_trend", None), answer("edit_trend", 0.0), "edit_trend, row 0 is None"),
        (answer("events_1h", 3), answer("unknown", 3), "1 and 0 values"),
        (answer("unknown", 3), answer("unknown", 3), "0 and 0 values"),
    ],
)
def test_answers_that_differ_are_named(one, other, words):
    with pytest.raises(Unequal, match=words):
        equal_values(one, other)
