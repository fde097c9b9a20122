"""`df.write.format("tailrace")` and its stream: real Spark, real store, one view of the lane `direct`."""

import itertools
import textwrap
from datetime import UTC, datetime

import orjson
import pyarrow as pa
import pytest

from sinks.data_source import TailraceDataSource, target_of
from sinks.direct import Target
from tailrace.definitions import load_definitions
from tailrace.lake.session import schema_of
from tailrace.schemas.slots import to_micros
from tailrace.store.address import Address, read_control
from tailrace.store.codec import Codec
from tailrace.store.dynamodb.calls import KEY, binary, scan
from tailrace.store.dynamodb.conditional_writes import of_attribute, order_attribute
from tailrace.store.dynamodb.store import DynamoStore, ensure_table
from tests.store_client import with_client

pytestmark = pytest.mark.slow

TABLE_NUMBERS = itertools.count()
COLUMNS = "document_id string, score double, model string"
AS_OF = "2026-03-02T10:15:00Z"
TEN_FIFTEEN = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
DEFINITIONS = """
from datetime import timedelta
from tailrace.definitions import Count, Entity, Feature, FeatureView, Type
DOCUMENT = Entity('document', 'document_id', 'a document')
about = {'entities': (DOCUMENT,), 'owner': 'ada', 'description': 'Tested.', 'freshness': timedelta(hours=1)}
relevance = FeatureView(
    name='relevance', lane='direct', **about,
    written_features=(Feature('score', Type.FLOAT64, 'from a model', maximum=1), Feature('model', Type.STRING, 'which')),
)
visits = FeatureView(name='visits', aggregations=(Count(name='views', over=('1h',)),), **about)
"""


class Store:
    """A store table of its own, and what tests ask of it."""

    def __init__(self, spark, url, features, home):
        self.spark = spark
        self.landing = home / "landing" / "direct_writes"
        table = f"data-source-{next(TABLE_NUMBERS)}"
        self.options = {"TAILRACE_STORE_URL": url, "TAILRACE_STORE_TABLE": table, "TAILRACE_FEATURES": str(features)}
        self.options |= {"TAILRACE_STORE_WRITES": "transactions", "TAILRACE_HOME": str(home), "view": "relevance"}
        self.address = Address(
            url=url, region="us-east-1", table=table, in_flight=2, writes="transactions", lease_seconds=5
        )
        with_client(self.address, ensure_table)

    def write(self, rows, columns=COLUMNS, **options):
        frame = self.spark.createDataFrame(rows, columns).repartition(2)
        frame.write.format("tailrace").options(**self.options | options).mode("append").save()

    def items(self):
        async def read(client):
            pages = scan(client, ("relevance", "relevance#t", "profile"))
            return [item async for page in pages for item in page]

        items = with_client(self.address, read)
        return {item[KEY]["S"]: item for item in items if not item[KEY]["S"].startswith("#")}

    def values(self):
        """Features by document; None for a tombstone."""
        codec = Codec("relevance", self.control().features)
        return {key.split(":")[1]: features_in(codec, binary(item, "relevance")) for key, item in self.items().items()}

    def orders(self):
        return {
            key.split(":")[1]: of_attribute(item[order_attribute("relevance")]) for key, item in self.items().items()
        }

    def control(self):
        return read_control(self.address, "relevance")

    def landed(self):
        """What was landed, as document, time and score."""
        lines = [line for file in self.landing.glob("*.jsonl") for line in file.read_bytes().splitlines()]
        told = [orjson.loads(line) for line in lines]
        return sorted(
            (one["keys"]["document_id"], one["occurred_at"], one["values"] and one["values"]["score"]) for one in told
        )


def features_in(codec, value):
    if not value:
        return None
    columns = codec.decode([value]).columns
    return tuple(column.values[0] if column.valid[0] else None for column in columns)


@pytest.fixture
def store(spark, writer_url, tmp_path):
    spark.dataSource.register(TailraceDataSource)
    features = tmp_path / "features"
    features.mkdir()
    (features / "relevance.py").write_text(textwrap.dedent(DEFINITIONS))
    return Store(spark, writer_url, features, tmp_path / "home")


def test_rows_are_written_and_readers_are_told(store):
    store.write([("d1", 0.5, "m1"), ("d2", None, "m1")], as_of=AS_OF)

    assert store.values() == {"d1": (0.5, "m1"), "d2": (None, "m1")}
    found = store.control()
    assert found.watermark == to_micros(TEN_FIFTEEN)
    assert [feature.name for feature in found.features] == ["score", "model"]
    assert (found.open, found.cursor, found.lane) == (False, None, "direct")
    assert {order.occurred_at for order in store.orders().values()} == {found.watermark}
    assert store.landed() == [("d1", AS_OF, 0.5), ("d2", AS_OF, None)]


def test_a_later_write_replaces_the_rows_of_its_keys_and_no_others(store):
    store.write([("d1", 0.5, "m1"), ("d2", 0.25, "m1")])
    first = store.control()
    store.write([("d2", 0.75, "m2")])

    assert store.values() == {"d1": (0.5, "m1"), "d2": (0.75, "m2")}
    assert store.control().watermark > first.watermark


def test_a_key_can_be_removed(store):
    store.write([("d1", 0.5, "m1"), ("d2", 0.25, "m1")])

    store.write([("d1", None, None, True), ("d3", 1.0, "m1", None)], f"{COLUMNS}, gone boolean", removed="gone")

    assert store.values() == {"d1": None, "d2": (0.25, "m1"), "d3": (1.0, "m1")}
    assert {(document, score) for document, _, score in store.landed()} == {
        ("d1", 0.5),
        ("d1", None),
        ("d2", 0.25),
        ("d3", 1.0),
    }


def test_what_other_views_have_of_the_item_stays(store):
    item = {KEY: {"S": "document|2:d1"}, "profile": {"B": "dGhlaXJz"}}
    with_client(store.address, lambda client: client.call("PutItem", {"TableName": client.table, "Item": item}))

    store.write([("d1", 0.5, "m1")])

    assert binary(store.items()["document|2:d1"], "profile") == b"theirs"
    assert store.values() == {"d1": (0.5, "m1")}


@pytest.mark.parametrize(
    ("options", "columns", "told"),
    [
        ({"view": "visits"}, COLUMNS, "view visits is of the lane batch, which alone writes it"),
        ({"view": "nothing"}, COLUMNS, "there is no view 'nothing'; there are relevance, visits"),
        ({"views": "relevance"}, COLUMNS, "has no option 'views'; there are view, removed, occurred_at, as_of"),
        ({"as_of": "10:15"}, COLUMNS, "option 'as_of': '10:15' is not a time such as"),
        ({"as_of": "2026-03-02T10:15:00"}, COLUMNS, "has no time zone"),
        ({"removed": "score"}, COLUMNS, "'removed' names 'score', which is another column already"),
        ({"removed": "gone"}, COLUMNS, "the rows have no column 'gone', boolean"),
        ({}, "document_id string, points double, model string", "the rows have no column 'score', double"),
        ({}, "document_id string, score int, model string", "column 'score' is int in the rows and double in the view"),
        ({}, "id string, score double, model string", "the rows have no column 'document_id', string"),
        ({}, COLUMNS + ", note string", "column 'note' is not a feature of the view; leave it out"),
        ({}, COLUMNS + ", score double", "the rows have 2 columns 'score'; keep one"),
        ({"path": "somewhere"}, COLUMNS, "has no option 'path'"),
        ({"TAILRACE_STORE": "x"}, COLUMNS, "TAILRACE_STORE"),
    ],
)
def test_what_does_not_fit_the_view_is_refused(store, options, columns, told):
    with pytest.raises(Exception, match=told):
        target_of(store.options | options, schema_of(columns), overwrite=False)


@pytest.mark.parametrize(
    ("options", "mode", "told"),
    [
        ({"view": "visits"}, "append", "view visits is of the lane batch, which alone writes it"),
        ({}, "overwrite", "replaces rows key by key and nothing else"),
    ],
)
def test_a_refusal_reaches_the_caller_of_spark_before_anything_is_written(store, options, mode, told):
    frame = store.spark.createDataFrame([("d1", 0.5, "m1")], COLUMNS)

    with pytest.raises(Exception, match=told):
        frame.write.format("tailrace").options(**store.options | options).mode(mode).save()

    assert (store.items(), store.control()) == ({}, None)


def test_a_row_that_does_not_fit_stops_the_write_and_is_named(store):
    with pytest.raises(Exception, match=r"a row has no document_id; every row needs its key"):
        store.write([(None, 0.25, "m1")])
    with pytest.raises(Exception, match=r"row \{'document_id': 'd1'\}: feature 'score' is 1.5; it is at most 1"):
        store.write([("d1", 1.5, "m1")])

    assert (store.values(), store.landed()) == ({}, [])


def test_each_row_may_have_its_time_and_an_older_one_stays_out(store):
    nine, ten = datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 2, 10, tzinfo=UTC)
    columns = f"{COLUMNS}, at timestamp"
    store.write([("d1", 0.5, "m1", ten), ("d2", 0.5, "m1", None)], columns, occurred_at="at", as_of=AS_OF)
    store.write([("d1", 0.25, "m2", nine), ("d2", 0.75, "m2", TEN_FIFTEEN)], columns, occurred_at="at")

    assert store.values() == {"d1": (0.5, "m1"), "d2": (0.75, "m2")}
    assert {document: order.occurred_at for document, order in store.orders().items()} == {
        "d1": to_micros(ten),
        "d2": to_micros(TEN_FIFTEEN),
    }
    assert store.landed() == [("d1", "2026-03-02T10:00:00Z", 0.5), ("d2", AS_OF, 0.5), ("d2", AS_OF, 0.75)]


def test_a_view_that_another_lane_has_is_not_written(store):
    with_client(store.address, lambda client: DynamoStore(client).take_lease("relevance", owner="me", seconds=60))

    with pytest.raises(Exception, match="are those of the lane batch"):
        store.write([("d1", 0.5, "m1")])

    assert store.values() == {}


def test_no_row_is_under_way_while_spark_is_waited_for(store, tmp_path):
    view = load_definitions([store.options["TAILRACE_FEATURES"]]).view("relevance")
    target = Target(address=store.address, view=view, landing=str(tmp_path / "home" / "landing"), as_of=5)
    waiting = []

    def batches():
        for number in range(2):
            ids = [f"d{number}-{row}" for row in range(150)]
            yield pa.RecordBatch.from_pydict({"document_id": ids, "score": [0.5] * 150, "model": ["m"] * 150})
            waiting.append(len(store.items()))

    outcome = target.write(batches(), revision=target.begin().first)

    assert outcome.written == 300
    assert waiting == [150, 300]


class Stream:
    """A stream of Parquet files into the store."""

    def __init__(self, store, folder):
        self.store = store
        self.source = folder / "source"
        self.checkpoint = folder / "checkpoint"
        self.files = itertools.count()
        self.source.mkdir()

    def land(self, *rows):
        frame = self.store.spark.createDataFrame(rows, COLUMNS).coalesce(1)
        frame.write.mode("append").parquet(str(self.source))

    def run(self):
        """Take in what landed, one file a micro-batch, and end."""
        rows = self.store.spark.readStream.schema(COLUMNS).option("maxFilesPerTrigger", 1).parquet(str(self.source))
        writing = rows.writeStream.format("tailrace").options(**self.store.options)
        query = writing.option("checkpointLocation", str(self.checkpoint)).trigger(availableNow=True).start()
        query.awaitTermination()


@pytest.fixture
def stream(store, tmp_path):
    return Stream(store, tmp_path)


def test_each_micro_batch_is_a_write_of_its_own(stream, store):
    stream.land(("d1", 0.5, "m1"), ("d2", 0.25, "m1"))
    stream.run()
    stream.land(("d2", 0.75, "m2"))
    stream.land(("d3", 1.0, "m2"))
    stream.run()

    assert store.values() == {"d1": (0.5, "m1"), "d2": (0.75, "m2"), "d3": (1.0, "m2")}
    assert len({order.revision for order in store.orders().values()}) == 3


def test_a_stream_that_lost_its_store_fails_and_goes_on_later(stream, store):
    stream.land(("d1", 0.5, "m1"))
    url = store.options["TAILRACE_STORE_URL"]
    store.options["TAILRACE_STORE_URL"] = "http://127.0.0.1:9"
    with pytest.raises(Exception, match="Unreachable"):
        stream.run()
    store.options["TAILRACE_STORE_URL"] = url
    stream.run()

    assert store.values() == {"d1": (0.5, "m1")}
