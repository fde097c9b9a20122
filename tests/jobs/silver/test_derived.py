"""Rows that a function makes of silver rows: replaced parent by parent, looked up as declared, and refused where it must be."""

import pytest
from delta.tables import DeltaTable
from pyspark.sql import Window
from pyspark.sql import functions as F

from jobs.silver import derive
from jobs.silver.derive import FULL, INCREMENTAL, UNCHANGED, bring
from jobs.silver.lookups import with_facts
from jobs.silver.row_by_row import DerivationError, derived
from tailrace.definitions import STRING, DerivedSource, Field, Lookup
from tailrace.lake import commit
from tailrace.lake.delta_log import Overtaken
from tailrace.lake.session import configured, materialized
from tailrace.lake.tables import Lake
from tests.jobs.silver.derived_scene import (
    PRODUCTS,
    SEARCHES,
    T,
    deliver,
    product,
    rows_of,
    search,
    words,
    words_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Of three parents that changed and a table that did. Adaptive execution makes a job of every stage. Measured: 51.
JOBS_OF_A_DERIVATION = 53


def jobs_of(lake, act):
    scheduler = lake.spark.sparkContext._jsc.sc().dagScheduler()
    before = scheduler.numTotalJobs()
    return act(), scheduler.numTotalJobs() - before


def changes(lake, source, since):
    """The change feed of a derived table after a version."""
    table = source.silver_table
    if lake.version(table) == since:
        return []
    feed = lake.changes(table, start=since + 1, end=lake.version(table))
    return sorted((row["_change_type"], row.search_id, row.ordinal, row.word) for row in feed.collect())


@pytest.fixture(scope="module")
def shop(spark, tmp_path_factory):
    """Searches and products that tests only read."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("derived") / "lake"))
    deliver(lake, PRODUCTS.silver_table, product(1, "toys"), product(2, None))
    found = [search("a", "b a"), search("b", None), search("c", "x x y", product=9), search("d", "é", product=None)]
    deliver(lake, SEARCHES.silver_table, *found)
    return lake


@pytest.fixture(scope="module")
def parents(shop):
    """The searches with what they look up, as a function gets them."""
    pins = {one.full_name: shop.pin(one) for one in derive.inputs_of(words())}
    with materialized(with_facts(shop, words(), shop.read(SEARCHES.silver_table), pins)) as found:
        yield found


def test_rows_of_a_parent_are_replaced_together_and_only_those_that_differ(lake):
    source = words()
    deliver(lake, PRODUCTS.silver_table, product(1, "toys"), product(2, "food"))
    found = [
        search("a", "b a"),
        search("b", "x x", product=2),
        search("c", "y", product=9),
        search("d", "z", product=2),
    ]
    deliver(lake, SEARCHES.silver_table, *found)

    first = bring(lake, source)
    assert (first.how, first.parents, first.rows, first.changed) == (FULL, 4, 6, 6)
    assert rows_of(lake, source, "search_id", "ordinal", "word", "category") == [
        ("a", 0, "a", "toys"),
        ("a", 1, "b", "toys"),
        ("b", 0, "x", "food"),
        ("b", 1, "x", "food"),
        ("c", 0, "y", None),
        ("d", 0, "z", "food"),
    ]

    again, jobs = jobs_of(lake, lambda: bring(lake, source))
    assert (again.how, again.rows, jobs) == (UNCHANGED, 6, 0)

    # a is corrected, b goes, c gets its product, d comes again as it is; product 1 changes in what nobody looks up.
    version = lake.version(source.silver_table)
    deliver(lake, SEARCHES.silver_table, search("a", "a c d"), *found[2:], gone=["b"])
    deliver(lake, PRODUCTS.silver_table, product(1, "toys", shop="other"), product(9, "new"))
    with configured(lake.spark, {"spark.sql.adaptive.enabled": "true"}):  # as in production
        second, jobs = jobs_of(lake, lambda: bring(lake, source))
    assert (second.how, second.parents, second.rows, second.changed) == (INCREMENTAL, 3, 5, 5)
    assert jobs <= JOBS_OF_A_DERIVATION
    assert changes(lake, source, version) == [
        ("delete", "b", 0, "x"),
        ("delete", "b", 1, "x"),
        ("insert", "a", 2, "d"),
        ("update_postimage", "a", 1, "c"),
        ("update_postimage", "c", 0, "y"),
        ("update_preimage", "a", 1, "b"),
        ("update_preimage", "c", 0, "y"),
    ]

    version = lake.version(source.silver_table)
    other = words(transform=lambda rows: words_of(rows.where("query <> 'nothing'")))
    assert (bring(lake, other).why, changes(lake, source, version)) == ("the definition changed", [])


def test_a_lookup_that_does_not_follow_keeps_what_it_first_gave_until_the_parent_names_another_key(lake, monkeypatch):
    kept = words(lookups=(Lookup(PRODUCTS, on="product_id", fields=("category",), follow=False),))
    deliver(lake, PRODUCTS.silver_table, product(1, "old"), product(2, "two"))
    deliver(
        lake, SEARCHES.silver_table, search("a", "x"), search("b", "x"), search("c", None), search("d", "x", product=9)
    )
    bring(lake, kept)
    deliver(lake, PRODUCTS.silver_table, product(1, "new"), product(2, "too"), product(9, "late"))
    assert bring(lake, kept).parents == 0

    # a is corrected, b names another product, c has words at last, d is as before, e is new.
    deliver(
        lake, SEARCHES.silver_table, search("a", "y"), search("b", "x", product=2), search("c", "x"), search("e", "x")
    )
    with monkeypatch.context() as patched:
        patched.setattr(derive.Derivation, "replace", dying_after(1, derive.Derivation.replace))
        with pytest.raises(pytest.fail.Exception, match="killed"):
            bring(lake, kept)
    assert rows_of(lake, kept, "search_id", "category") == [("a", "old"), ("b", "old"), ("d", None)]
    deliver(lake, PRODUCTS.silver_table, product(1, "newest"), product(2, "second"))
    assert bring(lake, kept).how == INCREMENTAL

    given = [("a", "old"), ("b", "too"), ("c", "old"), ("d", None), ("e", "new")]
    assert rows_of(lake, kept, "search_id", "category") == given
    changed = words(lookups=kept.lookups, id="word")
    assert bring(lake, changed).how == FULL
    assert rows_of(lake, changed, "search_id", "category") == given


def dying_after(calls, act):
    """A function that is killed after so many calls, before the next."""
    left = [calls]

    def act_or_die(*args, **options):
        left[0] -= 1
        if left[0] < 0:
            pytest.fail("killed")
        return act(*args, **options)

    return act_or_die


def test_of_two_runs_at_once_one_commits(lake, monkeypatch):
    source = words()
    deliver(lake, PRODUCTS.silver_table, product(1, "toys"))
    deliver(lake, SEARCHES.silver_table, search("a", "x"))
    bring(lake, source)
    deliver(lake, SEARCHES.silver_table, search("b", "y"))
    change = commit.change

    def overtaken(*args, **options):
        monkeypatch.setattr(commit, "change", change)
        bring(lake, source)
        change(*args, **options)

    monkeypatch.setattr(commit, "change", overtaken)
    with pytest.raises(Overtaken, match=r"silver\.words"):
        bring(lake, source)
    assert rows_of(lake, source, "search_id", "word") == [("a", "x"), ("b", "y")]

    DeltaTable.forPath(lake.spark, lake.path(source.silver_table)).delete("search_id = 'a'")
    assert bring(lake, source).why == "something else than a refresh wrote to it"
    assert rows_of(lake, source, "search_id", "word") == [("a", "x"), ("b", "y")]


def test_of_two_first_derivations_at_once_the_slower_one_makes_no_rows_with_values_that_are_not_kept(lake, monkeypatch):
    kept = words(lookups=(Lookup(PRODUCTS, on="product_id", fields=("category",), follow=False),))
    deliver(lake, PRODUCTS.silver_table, product(1, "old"))
    deliver(lake, SEARCHES.silver_table, search("a", "x"))
    fill = commit.replace_rows

    def after_a_faster_one(*args, **options):
        """Another run is killed between the values that it gives and its rows; the first fill of the former is its own."""
        deliver(lake, PRODUCTS.silver_table, product(1, "new"))
        with monkeypatch.context() as patched:
            patched.setattr(commit, "replace_rows", dying_after(1, fill))
            with pytest.raises(pytest.fail.Exception, match="killed"):
                bring(lake, kept)
        return fill(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(commit, "replace_rows", after_a_faster_one)
        with pytest.raises(Overtaken):
            bring(lake, kept)
    bring(lake, kept)

    assert rows_of(lake, kept, "search_id", "category") == [("a", "new")]


def test_a_source_is_derived_from_a_derived_one(shop):
    parent = words(id="word", name="once", transform=once)
    letters = DerivedSource(
        name="letters",
        of=parent,
        transform=lambda rows: rows.withColumn("letter", F.explode(F.split("word", ""))),
        fields=(Field("letter", STRING),),
    )
    bring(shop, parent)
    bring(shop, letters)
    assert rows_of(shop, letters, "word", "ordinal", "letter") == [
        ("a", 0, "a"),
        ("b", 0, "b"),
        ("x", 0, "x"),
        ("y", 0, "y"),
        ("é", 0, "é"),
    ]


def once(rows):
    every = F.explode(F.array_distinct(F.split("query", " ")))
    return rows.select("search_id", "ts", "user_id", "category", every.alias("word"))


def by_user(rows):
    return words_of(rows).withColumn("word", F.max("word").over(Window.partitionBy("user_id")))


def reading(rows):
    path = rows.sparkSession.conf.get("tests.path")
    return words_of(rows).join(rows.sparkSession.read.format("delta").load(path).selectExpr("id AS n"), how="cross")


def constant(rows):
    return words_of(rows).join(
        rows.sparkSession.createDataFrame([("x", "z")], "word string, more string"), "word", "left"
    )


NOT_ROW_BY_ROW = {
    "a window over others": by_user,
    "distinct rows": lambda rows: words_of(rows).drop_duplicates(["user_id"]),
    "a limit": lambda rows: words_of(rows).limit(2),
    "a total": lambda rows: (
        words_of(rows).crossJoin(rows.select(F.count("*").cast("string").alias("n"))).withColumn("word", F.col("n"))
    ),
    "a row for no parent": lambda rows: rows.agg(
        F.coalesce(F.max("search_id"), F.lit("a")).alias("search_id"),
        F.coalesce(F.max("ts"), F.lit(T)).alias("ts"),
        F.max("user_id").alias("user_id"),
        F.max("category").alias("category"),
        F.max("query").alias("word"),
    ),
    "random numbers": lambda rows: words_of(rows).withColumn("word", F.uuid()),
}
REFUSED = {
    "no id": (lambda rows: words_of(rows).drop("search_id"), ("words", "search_id", "keep the parent's ids")),
    "no time": (lambda rows: words_of(rows).drop("ts"), ("words", "'ts'", "keep the parent's ids")),
    "no field": (lambda rows: words_of(rows).drop("word"), ("words", "'word'", "it returns search_id")),
    "another type": (lambda rows: words_of(rows).withColumn("word", F.lit(1)), ("words", "'word'", "as int")),
    "the clock": (
        lambda rows: words_of(rows).withColumn("word", F.current_date().cast("string")),
        ("words", "current_date", "the row's own time"),
    ),
    "no frame": (lambda rows: rows.schema, ("words", "StructType")),
    "a column that is not there": (lambda rows: rows.select("nothing"), ("words", "nothing", "search_id, ts, query")),
    "another parent": (
        lambda rows: words_of(rows).withColumn("search_id", F.concat("search_id", F.lit("!"))),
        ("words", "search_id='a!'", "not given"),
    ),
    "no time for a row": (
        lambda rows: words_of(rows).withColumn("ts", F.when(F.col("word") != "y", F.col("ts"))),
        ("words", "no 'ts'", "search_id='c'"),
    ),
    "another table": (reading, ("words", "Lookup")),
}


@pytest.mark.parametrize("function", NOT_ROW_BY_ROW.values(), ids=NOT_ROW_BY_ROW)
def test_a_function_that_sees_several_rows_is_refused_with_rows(parents, function):
    source = words(name="seen", transform=function)
    refused = pytest.raises(DerivationError, match=r"source 'seen'.*one row at a time.*(together|apart) search_id=")
    with refused, derived(source, parents, turn=0):
        pass


@pytest.mark.parametrize(("function", "said"), REFUSED.values(), ids=REFUSED)
def test_a_result_that_cannot_be_kept_names_source_column_and_parent(shop, parents, function, said):
    shop.spark.conf.set("tests.path", shop.path(PRODUCTS.silver_table))
    with pytest.raises(DerivationError) as refusal, derived(words(transform=function), parents, turn=0):
        pass
    assert [part for part in said if part not in str(refusal.value)] == []


def test_ids_that_repeat_within_a_parent_are_refused_before_anything_is_committed_and_constants_are_not(shop):
    repeated = words(name="repeated", id="word")
    with pytest.raises(DerivationError, match="word='x' for the parent search_id='c'"):
        bring(shop, repeated)
    assert shop.state(repeated.silver_table) is None
    fields = (Field("user_id", STRING), Field("category", STRING, required=True), Field("word", STRING))
    with pytest.raises(DerivationError, match="no 'category' for a row of the parent"):
        bring(shop, words(name="required", fields=fields))
    more = words(name="more", transform=constant, fields=(Field("word", STRING), Field("more", STRING)))
    assert bring(shop, more).rows == 6
