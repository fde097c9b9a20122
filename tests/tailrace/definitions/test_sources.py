"""Sources that cannot be read are refused when they are declared, naming source and field."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tailrace.definitions import (
    Count,
    Definitions,
    Delta,
    Entity,
    EventSource,
    FeatureView,
    Field,
    Kafka,
    Landing,
    TableSource,
    Time,
    Type,
)
from tailrace.definitions.definitions import check_together
from tailrace.definitions.fields import parts_of_path
from tailrace.errors import DefinitionError
from tailrace.schemas import silver
from tailrace.schemas.tables import Column

INT64, STRING = Type.INT64, Type.STRING
SEARCHES = EventSource(name="searches", id="search_id", time=Time("ts"), fields=(Field("query", STRING),))
PRODUCTS = TableSource(name="products", key="product_id", fields=(Field("product_id", INT64), Field("title", STRING)))

PATHS = {
    "$.request.q": ("request", "q"),
    "$['user id']['$oid']": ("user id", "$oid"),
    '$["it\'s"]': ("it's",),
    "$['a.b'].c-d[0][12]": ("a.b", "c-d", 0, 12),
    "$['back\\slash']['${x}']": ("back\\slash", "${x}"),
}
NO_PATHS = [
    "",
    "$",
    "request",
    "$.",
    "$.a b",
    "$['']",
    "$['what?']",
    "$['a'",
    "$[-1]",
    "$[1e3]",
    "$[99999999999]",
    "$.a.",
    "$.a[٣]",
]
FIELDS = {
    "a name that Tailrace has": Field("batch", STRING),
    "a name that silver needs": Field("out_file", STRING),
    "no name": Field("Query Text", STRING),
    "a type of gold": Field("tags", Type("binary")),
    "a pattern that is none": Field("code", STRING, pattern="("),
    "a pattern of a number": Field("code", INT64, pattern="1"),
    "bounds of a text": Field("code", STRING, minimum=0),
    "a bound that is infinite": Field("code", Type.FLOAT64, minimum=float("-inf")),
    "a bound that is no number": Field("code", Type.FLOAT64, maximum=float("nan")),
    "bounds the wrong way round": Field("code", INT64, minimum=2, maximum=1),
    "a bound beyond 64 bits": Field("code", INT64, maximum=2**63),
    "a line that is a list": Field("code", STRING, path="$[0]"),
    "no path": Field("code", STRING, path="code"),
}
SOURCES = {
    "no fields": (replace(SEARCHES, fields=()), "fields"),
    "a field twice": (replace(SEARCHES, fields=(Field("query", STRING),) * 2), "query"),
    "an odd name": (replace(SEARCHES, name="Searches"), "name"),
    "a table of bronze": (replace(SEARCHES, name="quarantine"), "name"),
    "a figure of reports": (replace(SEARCHES, name="gates"), "name"),
    "an odd name of silver": (replace(SEARCHES, silver="a/b"), "silver"),
    "nowhere to read": (replace(SEARCHES, read_from=()), "read_from"),
    "a table in another place for each folder": (replace(SEARCHES, read_from=Delta("marts/searches")), "read_from"),
    "no table": (replace(SEARCHES, read_from=Delta("/")), "read_from"),
    "a table and a folder": (replace(SEARCHES, read_from=(Delta("/marts/searches"), Landing())), "read_from"),
    "two topics": (replace(SEARCHES, read_from=(Kafka("a"), Kafka("b"))), "read_from"),
    "a time in two places": (
        replace(SEARCHES, time=Time("ts", path="$.meta.ts"), fields=(Field("ts", Type.TIMESTAMP),)),
        "ts",
    ),
    "an unknown unit": (replace(SEARCHES, time=Time("ts", unit="min")), "time"),
    "an unknown zone": (replace(SEARCHES, time=Time("ts", zone="Europe/Nowhere")), "time"),
    "a unit and a zone": (replace(SEARCHES, time=Time("ts", unit="s", zone="UTC")), "time"),
    "a time of another type": (replace(SEARCHES, fields=(Field("ts", STRING),)), "ts"),
    "a fraction as an id": (replace(SEARCHES, fields=(Field("search_id", Type.FLOAT64),)), "id"),
    "a type that is no field": (replace(SEARCHES, type="kind"), "type"),
    "a key that is no field": (replace(PRODUCTS, key="sku"), "key"),
    "an object as a key": (replace(PRODUCTS, key="title", fields=(Field("title", STRING, json=True),)), "key"),
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_read_from_the_outside_in(path):
    assert parts_of_path(path) == PATHS[path]


@pytest.mark.parametrize("path", NO_PATHS)
def test_what_is_not_a_path_is_refused(path):
    with pytest.raises(DefinitionError):
        parts_of_path(path)


@pytest.mark.parametrize("case", FIELDS)
def test_a_field_that_cannot_be_read_is_refused_by_name(case):
    field = FIELDS[case]

    with pytest.raises(DefinitionError) as refused:
        replace(SEARCHES, fields=(field,)).check()

    assert "searches" in str(refused.value)
    assert repr(field.name) in str(refused.value)


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_cannot_be_read_is_refused_by_name(case):
    source, field = SOURCES[case]

    with pytest.raises(DefinitionError) as refused:
        source.check()

    assert source.name in str(refused.value)
    assert repr(field) in str(refused.value)


@pytest.mark.parametrize(
    ("declared", "source", "field"),
    [
        ({"fields": Field("query", STRING)}, SEARCHES, "fields"),
        ({"fields": ("query",)}, PRODUCTS, "fields"),
        ({"read_from": "landing"}, SEARCHES, "read_from"),
        ({"id": ("search_id", 1)}, SEARCHES, "id"),
        ({"time": "ts"}, SEARCHES, "time"),
        ({"key": ("product_id", None)}, PRODUCTS, "key"),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused_by_name(declared, source, field):
    with pytest.raises(DefinitionError, match=f"source '{source.name}', field '{field}': (give|write) "):
        replace(source, **declared)


@pytest.mark.parametrize(
    ("others", "name"),
    [
        ((replace(SEARCHES, id=None),), "searches"),
        ((replace(PRODUCTS, name="goods", silver="searches"),), "searches"),
        ((replace(PRODUCTS, silver="things"), replace(PRODUCTS, name="goods", silver="things")), "things"),
    ],
)
def test_sources_that_do_not_go_together_are_refused_by_name(others, name):
    definitions = Definitions(views={}, on_demand={}, services={}, declared=(SEARCHES, *others))

    with pytest.raises(DefinitionError, match=name):
        check_together(definitions, {})


def test_a_home_may_have_none_of_the_shipped_sources():
    definitions = Definitions(views={}, on_demand={}, services={}, declared=(SEARCHES, PRODUCTS))

    check_together(definitions, {})

    assert [feed.name for feed in definitions.feeds] == ["searches", "products", "direct_writes"]
    replace(SEARCHES, read_from=Kafka("searches")).check()


@pytest.mark.parametrize(
    ("readings", "lands"), [(Landing(), True), (Kafka("a"), False), ((Kafka("a"), Landing()), True)]
)
def test_only_a_source_that_reads_files_has_a_folder(readings, lands):
    assert replace(SEARCHES, read_from=readings).feed().lands == lands


def test_a_source_that_reads_a_table_lands_nothing_and_its_silver_has_no_deliveries():
    table = replace(PRODUCTS, read_from=Delta("s3a://lake/marts/products/"))
    definitions = Definitions(views={}, on_demand={}, services={}, declared=(SEARCHES, table))

    [read] = definitions.table_feeds

    table.check()
    assert (read.path, read.feed.name) == ("s3a://lake/marts/products", "products")
    assert [feed.name for feed in definitions.feeds] == ["searches", "direct_writes"]
    assert table.silver_table.columns == ("product_id", "title")
    assert definitions.streamed_source == SEARCHES


@pytest.mark.parametrize(
    "change",
    [
        {"fields": (Field("product_id", INT64), Field("title", STRING, path="$.name"))},
        {"fields": (Field("product_id", INT64), Field("title", STRING, required=True))},
        {"fields": (*PRODUCTS.fields, Field("price", Type.FLOAT64))},
        {"key": ("product_id", "title")},
    ],
)
def test_rows_of_a_table_that_are_read_otherwise_are_compared_and_a_table_that_moved_is_not(change):
    def fingerprint(**declared):
        source = replace(PRODUCTS, **{"read_from": Delta("/marts/products")} | declared)
        [read] = Definitions(views={}, on_demand={}, services={}, declared=(source,)).table_feeds
        return read.fingerprint

    assert fingerprint() == fingerprint(read_from=Delta("/elsewhere")) == fingerprint(description="what is sold")
    assert fingerprint(**change) != fingerprint()


def test_a_stream_view_over_a_table_is_refused_with_the_reason():
    view = FeatureView(
        name="asked",
        source=replace(SEARCHES, read_from=Delta("/marts/searches")),
        entities=(Entity("query", "query", "what was asked"),),
        owner="tests",
        description="",
        freshness=timedelta(minutes=1),
        aggregations=(Count(name="searches", over=("1h",)),),
        lane="stream",
    )

    with pytest.raises(DefinitionError, match=r"view 'asked', field 'source': 'searches' reads a table"):
        view.check({"asked": view})


def test_silver_checks_a_pattern_as_a_whole():
    plain, either = (
        silver.check_of(Column("kind", STRING, "", nullable=False), pattern=one) for one in ("[a-z]+", "cart|search")
    )

    assert (plain, either) == ("kind rlike '^[a-z]+$'", "kind rlike '^(?:cart|search)$'")


def test_a_view_names_each_column_of_its_source_once():
    origin, destination = Entity("origin", "origin_id"), Entity("destination", "destination_id")
    view = FeatureView(
        name="routes",
        source=SEARCHES,
        entities=(origin.as_("query"), destination.as_("query")),
        owner="tests",
        description="",
        freshness=timedelta(hours=1),
        aggregations=(Count(name="searches", over=("1h",)),),
    )

    with pytest.raises(DefinitionError, match=r"view 'routes', field 'entities'.*query.*twice"):
        view.check({"routes": view})
