import subprocess
import sys

import pytest

from tailrace.schemas import bronze, view_tables
from tailrace.schemas.tables import Column, Table, Type
from tests import feeds

TABLE = Table(
    layer="silver",
    name="things",
    fields=(
        Column("id", Type.STRING, "the thing", nullable=False),
        Column("count", Type.INT64, "how many"),
        Column("share", Type.FLOAT64, "which part"),
        Column("is_new", Type.BOOL, "whether it is new"),
        Column("seen_at", Type.TIMESTAMP, "when it was seen"),
    ),
    key=("id",),
)
TABLES = (
    feeds.BRONZE_EVENTS,
    feeds.BRONZE_DOCUMENTS,
    bronze.QUARANTINE,
    bronze.FILES,
    feeds.INTERACTIONS,
    feeds.DOCUMENT_FACTS,
)


def test_ddl_spells_every_type_as_spark_does_and_says_what_is_never_null():
    assert TABLE.ddl == ("`id` string NOT NULL, `count` bigint, `share` double, `is_new` boolean, `seen_at` timestamp")


def test_names_of_a_table_and_its_columns():
    assert TABLE.full_name == "silver.things"
    assert TABLE.columns == ("id", "count", "share", "is_new", "seen_at")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.full_name)
def test_keys_and_statistics_are_columns_of_their_table(table):
    assert set(table.key) <= set(table.columns)
    assert set(table.statistics) <= set(table.columns)
    assert len(set(table.columns)) == len(table.columns)


@pytest.mark.parametrize("table", [feeds.INTERACTIONS, feeds.DOCUMENT_FACTS], ids=lambda table: table.name)
def test_a_key_of_silver_is_never_null_and_its_changes_are_kept(table):
    assert [field.nullable for field in table.fields if field.name in table.key] == [False]
    assert table.change_feed


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.full_name)
def test_statistics_name_no_person_and_no_document(table):
    assert not {"event_id", "actor_id", "document_id", "owner", "title"} & set(table.statistics)


def test_silver_keeps_the_facts_of_bronze_and_what_orders_deliveries():
    facts = ("event_id", "event_type", "actor_id", "document_id", "occurred_at", "source", "attributes")

    assert feeds.INTERACTIONS.columns == (*facts, *bronze.DELIVERY_ORDER)


def test_a_view_of_gold_has_its_keys_first_and_keeps_its_changes():
    keys = (Column("document_id", Type.STRING, "the document", nullable=False),)
    features = (Column("views", Type.INT64, "views"), Column("owner", Type.STRING, "its owner"))

    table = view_tables.gold_table("popularity", keys=iter(keys), features=iter(features))

    assert (table.full_name, table.key, table.change_feed) == ("gold.popularity", ("document_id",), True)
    assert table.columns == ("document_id", "views", "owner")


def test_fields_of_a_feed_fill_the_columns_of_its_tables():
    for feed in feeds.FEEDS:
        columns = tuple(field.column.name for field in feed.fields)
        assert (*columns, *(column.name for column in bronze.DELIVERY)) == feed.table.columns
        assert feed.silver is None or set(columns) < set(feed.silver.columns)


def test_contracts_need_nothing_but_python():
    program = "import sys, tailrace.schemas.view_tables, tailrace.schemas.landing, tailrace.schemas.silver, tailrace.schemas.slots; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not {"pyspark", "numpy", "pyarrow", "aiohttp"} & set(done.stdout.split())
