"""The quality gate: real Great Expectations, on rows in the driver and in Spark alike."""

import re
from datetime import UTC, datetime

import pytest

from tailrace.lake import commit
from tailrace.lake.session import ROWS, Materialized
from tailrace.lake.tables import Lake
from tailrace.quality import data_docs
from tailrace.quality import gate as gates
from tailrace.quality.gate import ExpectationError, Gate, GateFailed
from tailrace.schemas.expectations import expect, holds
from tailrace.schemas.tables import Column, Table, Type

AT = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
PEOPLE = Table(
    layer="gold",
    name="people",
    fields=(
        Column("person", Type.STRING, "who", nullable=False),
        Column("views_1h", Type.INT64, "views"),
        Column("views_24h", Type.INT64, "views"),
        Column("share", Type.FLOAT64, "a share"),
        Column("file", Type.STRING, "where it came from"),
    ),
    key=("person",),
    checks=("share is null or share >= 0.5",),
    expectations=(
        holds("views_1h <= views_24h"),
        expect("expect_column_mean_to_be_between", column="views_24h", max_value=100, least_rows=3),
    ),
)
GOOD = ("ada", 1, 2, 0.5, "a.jsonl")


@pytest.fixture(params=[gates.IN_DRIVER, 0], ids=["in the driver", "in Spark"])
def engine(request, monkeypatch):
    monkeypatch.setattr(gates, "IN_DRIVER", request.param)


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path / "quality")


def frame(spark, *rows):
    return Materialized(spark.createDataFrame(rows, PEOPLE.ddl.replace(" NOT NULL", "")), {ROWS: len(rows)})


def test_rows_that_meet_everything_pass_and_are_counted(spark, gate, engine):
    gate.audit(PEOPLE, frame(spark, GOOD, ("bob", None, None, None, None)))

    [(table, found)] = gate.take_verdicts().items()
    # The key is never null and unique, one check, one condition; the mean is of three rows or more.
    assert (table, found.rows, found.expectations) == ("gold.people", 2, 4)
    assert gate.take_verdicts() == {}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([(None, 1, 2, 0.5, None)], r"expect_column_values_to_not_be_null\(column='person'\): observed 1 of 2 rows"),
        ([("ada", 1, 2, 0.5, None)], r"to_be_unique\(column='person'\): observed 2 of 2 rows .* such as person ada"),
        ([("eve", 3, 2, 0.5, None)], "every row to have views_1h <= views_24h: observed 1 of 2 .* such as person eve"),
        ([("eve", 1, 2, 0.4, None)], r"every row to have share is null or share >= 0\.5: observed 1 of 2 rows"),
        ([("eve", 1, 900, 0.5, None), ("mia", 1, 2, 0.5, None)], r"mean_to_be_between\(.*max_value=100\): observed 30"),
    ],
)
def test_rows_that_miss_an_expectation_are_told_with_what_was_observed(spark, gate, rows, told):
    with pytest.raises(GateFailed, match=told) as failed:
        gate.audit(PEOPLE, frame(spark, GOOD, *rows))

    assert len(failed.value.misses) == 1
    assert gate.take_verdicts() == {}


def test_of_rows_that_miss_all_expectations_spark_observes_the_same(spark, gate, monkeypatch):
    monkeypatch.setattr(gates, "IN_DRIVER", 0)
    lost, again = (None, 1, 2, 0.5, None), ("ada", 1, 2, 0.5, None)
    wrong = [("eve", 3, 2, 0.5, None), ("kim", 1, 2, 0.4, None), ("zoe", 1, 900, 0.5, None)]

    with pytest.raises(GateFailed) as failed:
        gate.audit(PEOPLE, frame(spark, GOOD, lost, again, *wrong))

    assert len(failed.value.misses) == 5
    for told in (
        r"to_not_be_null\(column='person'\): observed 1 of 6 rows",
        r"to_be_unique\(column='person'\): observed 2 of . rows .* such as person ada",
        r"every row to have views_1h <= views_24h: observed 1 of 6 rows .* such as person eve",
        r"every row to have share is null or share >= 0\.5: observed 1 of 6 rows .* such as person kim",
        r"mean_to_be_between\(.*max_value=100\): observed 151",
    ):
        assert re.search(told, str(failed.value)), failed.value


@pytest.mark.parametrize("name", ["expect_column_to_exist", "expect_column_values_to_be_unique"])
def test_an_expectation_that_cannot_be_worked_out_stops_rows_as_well(spark, gate, engine, name):
    table = Table(
        layer="gold", name="odd", fields=PEOPLE.fields, key=PEOPLE.key, expectations=(expect(name, column="nope"),)
    )
    with pytest.raises(GateFailed, match="column='nope'"):
        gate.audit(table, frame(spark, GOOD))


def test_a_condition_may_be_a_column_by_itself(spark, gate, engine):
    flags = (Column("person", Type.STRING, "who", nullable=False), Column("is_here", Type.BOOL, "a flag"))
    table = Table(layer="gold", name="flags", fields=flags, key=("person",), expectations=(holds("is_here"),))
    rows = Materialized(
        spark.createDataFrame([("ada", True), ("eve", False)], "person string, is_here boolean"), {ROWS: 2}
    )

    with pytest.raises(GateFailed, match=r"every row to have is_here: observed 1 of 2 rows .* such as person eve"):
        gate.audit(table, rows)


PAIRS = Table(
    layer="gold",
    name="pairs",
    fields=tuple(Column(name, Type.STRING, name, nullable=False) for name in ("actor", "document")),
    key=("actor", "document"),
)


def pairs(spark, *rows):
    return Materialized(spark.createDataFrame(rows, "actor string, document string"), {ROWS: len(rows)})


def test_keys_of_several_columns_are_equal_where_the_tables_take_them_for_equal(spark, gate, engine):
    apart = [
        ("u", "d"),
        ("u", "d\0x"),
        ("u", "d\0y"),
        ("u\0", "d"),
        ("U", "d"),
        ("u ", "d"),
        ("1:u", "d"),
        ("u 1:d", ""),
    ]
    apart += [("caf\u00e9", "d"), ("cafe\u0301", "d"), ("", "u 1:d"), ("-", "-"), ("1", "23"), ("12", "3")]
    gate.audit(PAIRS, pairs(spark, *apart))

    with pytest.raises(
        GateFailed, match=r"\['actor', 'document'\]\): observed 2 of 15 rows .* actor u, document d\0x;"
    ):
        gate.audit(PAIRS, pairs(spark, *apart, ("u", "d\0x")))


def test_an_expectation_of_values_as_a_whole_tells_what_was_observed(spark, gate, engine):
    distinct = expect("expect_column_distinct_values_to_be_in_set", column="file", value_set=["b.jsonl"])
    table = Table(layer="gold", name="odd", fields=PEOPLE.fields, key=PEOPLE.key, expectations=(distinct,))

    with pytest.raises(GateFailed, match="observed 1 values that are not"):
        gate.audit(table, frame(spark, GOOD))


def test_an_expectation_that_does_not_exist_is_named(spark, gate):
    table = Table(
        layer="gold", name="odd", fields=PEOPLE.fields, key=PEOPLE.key, expectations=(expect("expect_nonsense"),)
    )
    with pytest.raises(ExpectationError, match=r"gold\.odd: expect_nonsense\(\) is not an expectation"):
        gate.audit(table, frame(spark, GOOD))


def test_only_the_files_to_blame_are_named(spark, gate, engine):
    rows = frame(
        spark, GOOD, ("bob", 3, 2, 0.5, "b.jsonl"), ("eve", 1, 2, 0.5, "c.jsonl"), ("mia", 4, 2, 0.5, "d.jsonl")
    )

    with pytest.raises(
        GateFailed, match=r"--set-aside events/b\.jsonl --set-aside events/d\.jsonl --because"
    ) as failed:
        gate.audit(PEOPLE, rows, feed="events")

    assert failed.value.files == ("events/b.jsonl", "events/d.jsonl")


def test_all_files_are_named_where_none_is_to_blame_by_itself(spark, gate, engine):
    with pytest.raises(GateFailed) as failed:
        gate.audit(PEOPLE, frame(spark, GOOD, ("ada", 1, 2, 0.5, "b.jsonl")), feed="events")

    assert failed.value.files == ("events/a.jsonl", "events/b.jsonl")


def test_no_row_costs_nothing(spark, gate, monkeypatch):
    monkeypatch.setattr(gates, "great_expectations", lambda: pytest.fail("was asked for"))

    gate.audit(PEOPLE, frame(spark))

    assert not gate.folder.exists()


@pytest.mark.parametrize("held_before", [True, False])
def test_a_table_stays_as_it_was_where_the_gate_stops_its_rows(lake, gate, held_before):
    lake = Lake(lake.spark, lake.root, gate=gate)
    lake.create(PEOPLE)
    if held_before:
        commit.become(lake, PEOPLE, frame(lake.spark, GOOD).frame, state={"started_from": lake.version(PEOPLE)})
    before = lake.version(PEOPLE), lake.read(PEOPLE).count()

    with pytest.raises(GateFailed):
        commit.become(
            lake, PEOPLE, frame(lake.spark, ("eve", 3, 2, 0.5, None)).frame, state={"started_from": before[0]}
        )

    assert (lake.version(PEOPLE), lake.read(PEOPLE).count()) == before


def test_pages_need_nothing_from_elsewhere_and_run_nothing_that_was_landed(spark, gate):
    with pytest.raises(GateFailed) as failed:
        gate.audit(
            PEOPLE, frame(spark, ("<script>alert(1)</script>", 3, 2, 0.5, None), ("<img src=x>", 3, 2, 0.5, None))
        )

    page = failed.value.page.read_text()
    assert "views_1h <= views_24h" in page
    assert not re.search(r"<script|<img|https?://", page)
    assert "default-src 'none'" in page
    assert failed.value.page.name in (gate.folder / "index.html").read_text()


def test_a_table_keeps_its_newest_pages(spark, gate, monkeypatch):
    monkeypatch.setattr(data_docs, "KEPT", 2)
    for _ in range(3):
        gate.audit(PEOPLE, frame(spark, GOOD))

    pages = sorted((gate.folder / "gold.people").iterdir())
    assert len(pages) == 2
    assert (gate.folder / "index.html").read_text().count("passed</a>") == 2
