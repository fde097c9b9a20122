"""What is taken for plainly usable, against the rules of bronze, which alone say what is."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import functions as F

from jobs.bronze.lines import validate_lines
from jobs.streaming import fast_path
from jobs.streaming.event_rows import EventRows
from jobs.streaming.fast_path import FAR, PLAIN_BYTES, plain_event, valid_events
from tailrace.definitions.stream_view import MINUTES_AHEAD
from tests import feeds
from tests.jobs.bronze.events_to_judge import EVENT, EVENT_FACTS, REFUSED_EVENTS, USABLE_EVENTS, event

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROWS = EventRows.of(feeds.DEFINITIONS)
LINES = 6_000
PIECES = [
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        "\\",
        "\\u0041",
        "\\ud83d\\ude00",
        "\\ud800",
        "\\n",
        "\n",
        "\t",
        "\x00",
        "\ufeff",
    ),
    *(
        "0",
        "-0",
        "-",
        "1e5",
        "1E400",
        "1.5",
        "01",
        "9" * 18,
        "9" * 19,
        "9" * 40,
        "0." + "1" * 30,
        "NaN",
        "Infinity",
        "null",
    ),
    *(
        "true",
        '{"a":1,"a":2}',
        '{"a":{"b":[1,2.5,{}]}}',
        "[" * 40 + "]" * 40,
        "/*c*/",
        "é",
        "\u2028",
        "🙂",
        "'",
        " ",
        "x",
    ),
]
TIMES = ["2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2024-02-29T23:59:59.9Z", "0001-01-01T00:00:00Z"]
TIMES += [
    "8999-12-31T23:59:59.999999999+17:59",
    "9999-01-01T00:00:00Z",
    "1000-01-01 00:00:00-17:59",
    "2026-03-01T24:00:00Z",
]
TIMES += ["1582-10-10T00:00:00", "2026-03-01T09:08:07+18:00", "2026-03-01T09:08:07.1234567", "٢٠٢٦-03-01T09:08:07Z"]


def micros(moment):
    return (moment - EPOCH) // timedelta(microseconds=1)


def facts_of(row):
    return row["actor_id"], row["document_id"], row["event_id"], row["event_type"], row["at"]


@pytest.mark.parametrize("case", REFUSED_EVENTS)
def test_what_bronze_refuses_is_not_plain(case):
    line, reason = REFUSED_EVENTS[case]

    # How far a time may be ahead of the clock is another matter in the stream.
    is_plain = len(line) <= PLAIN_BYTES and plain_event(line, feeds.EVENTS) is not None  # longer ones are not looked at
    assert is_plain == ("ahead of the clock" in reason)


# What is usable and left to the rules of bronze all the same.
NOT_PLAIN = {
    "BOM",
    "199 levels",
    "1E400 in a field nobody knows",
    *(f"20 digits as {name}" for name in ("event_id", "actor_id", "document_id")),
}


@pytest.mark.parametrize("case", USABLE_EVENTS)
def test_a_plain_event_says_what_bronze_says(case):
    line, changes = USABLE_EVENTS[case]
    facts = EVENT_FACTS | changes

    expected = facts_of(facts | {"at": micros(facts["occurred_at"])})
    found = plain_event(line, feeds.EVENTS)
    assert (found and ROWS.row_of(found)) == (None if case in NOT_PLAIN else expected)


def any_line(choose):
    """An event, mostly with something odd in a field, or a piece put where it may not belong."""
    about = dict(EVENT)
    if choose.random() < 0.3:
        about["occurred_at"] = choose.choice(TIMES)
    if choose.random() < 0.2:
        about["attributes"] = {
            "n": choose.choice([choose.uniform(-1e9, 1e9), 10 ** choose.randrange(30), -1, [], None])
        }
    line = json.dumps(about, ensure_ascii=choose.random() < 0.5)
    for _ in range(choose.choice([0, 1, 1, 1, 2])):
        at, piece = choose.randrange(len(line) + 1), choose.choice(PIECES)
        if choose.random() < 0.6:  # in place of a field's value
            value = json.dumps(about[choose.choice(list(about))], ensure_ascii=False)
            line = line.replace(value, choose.choice([piece, json.dumps(piece), f'"{piece}"']), 1)
        else:
            line = line[:at] + piece + line[at + choose.randrange(3) :]
    raw = line.encode(errors="surrogatepass")
    if choose.random() < 0.05:
        at = choose.randrange(len(raw))
        raw = raw[:at] + bytes([choose.randrange(256)]) + raw[at:]
    return raw


def test_whatever_is_plain_is_usable_by_the_rules_of_bronze_and_says_the_same(spark):
    seed = random.randrange(10**6)
    choose = random.Random(seed)
    lines = [any_line(choose) for _ in range(LINES)]
    frame = spark.createDataFrame(list(enumerate(lines)), "place bigint, bytes binary")
    judged = validate_lines(frame.withColumn("value", F.col("bytes").cast("string")), feeds.EVENTS, now=FAR)
    at = F.unix_micros("occurred_at").alias("at")
    rows = judged.select("place", "reason", "actor_id", "document_id", "event_id", "event_type", at).collect()
    by_rules = {row.place: None if row.reason else facts_of(row.asDict()) for row in rows}

    plain = {
        place: ROWS.row_of(found) for place, line in enumerate(lines) if (found := plain_event(line, feeds.EVENTS))
    }

    for place, row in plain.items():
        assert row == by_rules[place], f"seed {seed}: {lines[place]!r}"
    assert len(plain) > LINES / 5
    assert sum(one is None for one in by_rules.values()) > LINES / 5


def messages(spark, lines, *, appended_at=None):
    """As a source gives them: lines by place, which may have several."""
    rows = [(place, number, line) for number, (place, line) in enumerate(lines)]
    frame = spark.createDataFrame(rows, "place string, partition int, bytes binary")
    at = F.lit(appended_at or datetime(2026, 3, 1, 9, 9, tzinfo=UTC))
    return frame.select(F.col("bytes").cast("string").alias("value"), at.alias("appended_at"), "partition", "place")


def told(rows):
    """Event id, place and time of each."""
    return sorted(rows[["id", "place", "at"]].itertuples(index=False, name=None))


AT = micros(EVENT_FACTS["occurred_at"])


def test_plain_events_are_taken_without_a_look_at_the_rules(spark, monkeypatch):
    monkeypatch.setattr(fast_path, "validated", None)

    rows = valid_events(messages(spark, [("p1", event()), ("p2", event(event_id="e2"))]), ROWS)

    assert told(rows) == [("e1", "p1", AT), ("e2", "p2", AT)]
    assert rows.dtypes[["at", "appended"]].tolist() == ["int64", "int64"]
    assert rows["partition"].tolist() == [0, 1]


def test_the_others_are_judged_and_a_place_that_has_any_is_judged_as_a_whole(spark, monkeypatch):
    lines = [
        ("plain", event(event_id="plain")),
        ("mixed", event(event_id="in mixed")),
        ("mixed", b"\xef\xbb\xbf" + event(event_id="BOM")),
        ("mixed", event(event_id="in mixed again")),
        ("bad", b"no event"),
        ("long", event(event_id="long", attributes={"text": "x" * PLAIN_BYTES})),
    ]
    asked = []

    def counted(rows, feed, *, now):
        asked.append(rows.count())
        return validate_lines(rows, feed, now=now)

    monkeypatch.setattr(fast_path, "validate_lines", counted)

    rows = valid_events(messages(spark, lines), ROWS)

    expected = {"plain": "plain", "in mixed": "mixed", "in mixed again": "mixed", "BOM": "mixed", "long": "long"}
    assert told(rows) == sorted((event_id, place, AT) for event_id, place in expected.items())
    assert asked == [5]
    assert rows.dtypes[["at", "appended"]].tolist() == ["int64", "int64"]


def test_where_nothing_is_plain_or_nothing_came_the_rows_are_of_the_same_kinds(spark):
    none = valid_events(messages(spark, []), ROWS)
    judged = valid_events(messages(spark, [("p", b" \xef\xbb\xbf"), ("q", b"\xef\xbb\xbf" + event())]), ROWS)

    assert none.empty
    assert told(judged) == [("e1", "q", AT)]
    assert none.dtypes[["at", "appended"]].tolist() == judged.dtypes[["at", "appended"]].tolist() == ["int64", "int64"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "judged"])
def test_an_event_from_the_future_is_left_out_by_when_it_was_appended(spark, mark):
    limit = EVENT_FACTS["occurred_at"] - timedelta(minutes=MINUTES_AHEAD)

    at_the_limit = valid_events(messages(spark, [("p", mark + event())], appended_at=limit), ROWS)
    beyond = valid_events(messages(spark, [("p", mark + event())], appended_at=limit - timedelta(microseconds=1)), ROWS)

    assert (len(at_the_limit), len(beyond)) == (1, 0)
