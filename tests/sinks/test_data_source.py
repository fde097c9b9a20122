"""`df.write.format("tailrace")` and its stream: real Spark, real store, one view of the lane `direct`."""

import itertools
import textwrap
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from contracts.slots import to_micros
from features.language import Feature, Type
from online import control
from online.codec import Codec
from online.control import Cursor
from online.items import KEY, binary, ensure_table, scan
from online.keys import control_key
from sinks.data_source import TailraceDataSource, owner_of
from sinks.direct import Target
from sinks.lease import control_of, with_client
from sinks.rows import Address

pytestmark = pytest.mark.slow

TABLE_NUMBERS = itertools.count()
COLUMNS = "document_id string, score double, model string"
AS_OF = "2026-03-02T10:15:00Z"
DEFINITIONS = """
from datetime import timedelta
from features.language import Count, Entity, Feature, FeatureView, Type
DOCUMENT = Entity('document', 'document_id', 'a document')
about = {'entities': (DOCUMENT,), 'owner': 'ada', 'description': 'Tested.', 'freshness': timedelta(hours=1)}
relevance = FeatureView(
    name='relevance', lane='direct', **about,
    written_features=(Feature('score', Type.FLOAT64, 'from a model'), Feature('model', Type.STRING, 'which')),
)
visits = FeatureView(name='visits', aggregations=(Count(name='views', over=('1h',)),), **about)
"""


class Store:
    """A store table of its own, and what tests ask of it."""

    def __init__(self, spark, url, features):
        self.spark = spark
        table = f"data-source-{next(TABLE_NUMBERS)}"
        self.options = {"TAILRACE_STORE_URL": url, "TAILRACE_STORE_TABLE": table, "TAILRACE_FEATURES": str(features)}
        self.options |= {"TAILRACE_STORE_WRITES": "transactions", "TAILRACE_LEASE_SECONDS": "5", "view": "relevance"}
        self.address = Address(
            url=url, region="us-east-1", table=table, in_flight=2, writes="transactions", lease_seconds=5
        )
        with_client(self.address, ensure_table)

    def write(self, rows, columns=COLUMNS, **options):
        frame = self.spark.createDataFrame(rows, columns).repartition(2)
        frame.write.format("tailrace").options(**self.options | options).mode("append").save()

    def items(self):
        async def read(client):
            pages = scan(client, ("relevance", "relevance#s", "profile"))
            return [item async for page in pages for item in page]

        items = with_client(self.address, read)
        return {item[KEY]["S"]: item for item in items if not item[KEY]["S"].startswith("#")}

    def values(self):
        """Features by document; None for a tombstone."""
        codec = Codec("relevance", self.control().features)
        return {key.split(":")[1]: features_in(codec, binary(item, "relevance")) for key, item in self.items().items()}

    def sequences(self):
        return {key.split(":")[1]: int(item["relevance#s"]["N"]) for key, item in self.items().items()}

    def control(self):
        return control_of(self.address, "relevance")

    def take_over(self):
        return with_client(self.address, lambda client: control.take_lease(client, "relevance", owner="me", seconds=60))


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
    return Store(spark, writer_url, features)


def test_rows_are_written_and_readers_are_told(store):
    store.write([("d1", 0.5, "m1"), ("d2", None, "m1")], as_of=AS_OF)

    assert store.values() == {"d1": (0.5, "m1"), "d2": (None, "m1")}
    found = store.control()
    assert found.watermark == to_micros(datetime(2026, 3, 2, 10, 15, tzinfo=UTC))
    assert [feature.name for feature in found.features] == ["score", "model"]
    assert (found.open, found.cursor, found.closed) == (False, None, found.sequence)
    assert set(store.sequences().values()) == {found.sequence}


def test_a_later_write_replaces_the_rows_of_its_keys_and_no_others(store):
    store.write([("d1", 0.5, "m1"), ("d2", 0.25, "m1")])
    first = store.control()
    store.write([("d2", 0.75, "m2")])

    assert store.values() == {"d1": (0.5, "m1"), "d2": (0.75, "m2")}
    assert store.control().sequence == first.sequence + 1
    assert store.control().watermark > first.watermark


def test_a_key_can_be_removed(store):
    store.write([("d1", 0.5, "m1"), ("d2", 0.25, "m1")])

    store.write([("d1", None, None, True), ("d3", 1.0, "m1", None)], f"{COLUMNS}, gone boolean", removed="gone")

    assert store.values() == {"d1": None, "d2": (0.25, "m1"), "d3": (1.0, "m1")}


def test_what_other_views_have_of_the_item_stays(store):
    item = {KEY: {"S": "document|2:d1"}, "profile": {"B": "dGhlaXJz"}}
    with_client(store.address, lambda client: client.call("PutItem", {"TableName": client.table, "Item": item}))

    store.write([("d1", 0.5, "m1")])

    assert binary(store.items()["document|2:d1"], "profile") == b"theirs"
    assert store.values() == {"d1": (0.5, "m1")}


@pytest.mark.parametrize(
    ("options", "columns", "told"),
    [
        ({"view": "visits"}, COLUMNS, "view visits is of the lane batch: a refresh writes it"),
        ({"view": "nothing"}, COLUMNS, "there is no view 'nothing'; there are relevance, visits"),
        ({"views": "relevance"}, COLUMNS, "has no option 'views'; there are view, removed, as_of"),
        ({"as_of": "10:15"}, COLUMNS, "option 'as_of': '10:15' is no time such as"),
        ({"as_of": "2026-03-02T10:15:00"}, COLUMNS, "has no time zone"),
        ({"removed": "score"}, COLUMNS, "'removed' names 'score', which is a column of the view"),
        ({"removed": "gone"}, COLUMNS, "the rows have no column 'gone', boolean"),
        ({}, "document_id string, points double, model string", "the rows have no column 'score', double"),
        ({}, "document_id string, score int, model string", "column 'score' is int in the rows and double in the view"),
        ({}, "id string, score double, model string", "the rows have no column 'document_id', string"),
        ({}, COLUMNS + ", note string", "column 'note' is no feature of the view; leave it out"),
        ({}, COLUMNS + ", score double", "the rows have 2 columns 'score'; keep one"),
        ({"path": "somewhere"}, COLUMNS, "has no option 'path'"),
        ({"TAILRACE_STORE": "x"}, COLUMNS, "TAILRACE_STORE"),
    ],
)
def test_what_does_not_fit_the_view_is_told_before_anything_is_written(store, options, columns, told):
    frame = store.spark.createDataFrame([], columns)

    with pytest.raises(Exception, match=told):
        frame.write.format("tailrace").options(**store.options | options).mode("append").save()

    assert (store.items(), store.control()) == ({}, None)


def test_overwriting_is_refused(store):
    frame = store.spark.createDataFrame([("d1", 0.5, "m1")], COLUMNS)

    with pytest.raises(Exception, match="replaces rows key by key and nothing else"):
        frame.write.format("tailrace").options(**store.options).mode("overwrite").save()


def test_a_row_without_its_key_stops_the_write_and_the_next_need_not_wait(store):
    with pytest.raises(Exception, match=r"'document_id' is null in 1 rows; every row needs its key"):
        store.write([("d1", 0.5, "m1"), (None, 0.25, "m1")])
    left = store.control()
    store.write([("d1", 0.75, "m1")])

    assert (left.watermark, left.lease_until) == (None, 0)
    assert store.values() == {"d1": (0.75, "m1")}


def test_a_view_that_was_pushed_from_gold_loses_its_cursor_with_the_lease(store):
    cursor = Cursor(table_id="t1", version=3, fingerprint="f")
    taken = store.take_over()
    with_client(
        store.address,
        lambda client: control.close_push(
            client, "relevance", sequence=taken.sequence, cursor=cursor, watermark=5, features=()
        ),
    )
    before = store.control().cursor
    with pytest.raises(Exception, match="'document_id' is null"):
        store.write([(None, 0.25, "m1")])

    assert (before, store.control().cursor) == (cursor, None)


def test_no_row_is_under_way_while_spark_is_waited_for(store):
    features = (Feature("score", Type.FLOAT64, ""),)
    target = Target(
        address=store.address, view="relevance", entities={"document": "document_id"}, features=features, as_of=5
    )
    waiting = []

    def batches():
        for number in range(2):
            ids = [f"d{number}-{row}" for row in range(150)]
            yield pa.RecordBatch.from_pydict({"document_id": ids, "score": [0.5] * 150})
            waiting.append(len(store.items()))

    outcome = target.write(batches(), sequence=target.take_lease())

    assert outcome.written == 300
    assert waiting == [150, 300]


def test_values_newer_than_the_lease_are_passed(store):
    store.write([("d1", 0.5, "m1")])
    ahead = {"TableName": store.address.table, "Key": {KEY: {"S": "document|2:d1"}}}
    ahead |= {"UpdateExpression": "SET #s = :s", "ExpressionAttributeNames": {"#s": "relevance#s"}}
    newer = store.control().sequence + 99
    ahead |= {"ExpressionAttributeValues": {":s": {"N": str(newer)}}}
    with_client(store.address, lambda client: client.call("UpdateItem", ahead))

    with pytest.raises(Exception, match=r"1 rows in the store had a newer sequence .* write again"):
        store.write([("d1", 0.75, "m1")])
    store.write([("d1", 0.75, "m1")])

    assert (store.values(), store.sequences()) == ({"d1": (0.75, "m1")}, {"d1": newer + 1})


def test_a_write_that_lost_its_lease_stops_and_writes_nothing(store):
    target_table = store.address.table

    def loses_lease(batches):
        async def take(client):
            await client.call("UpdateItem", {
                "TableName": target_table, "Key": {KEY: {"S": control_key("relevance")}},
                "UpdateExpression": "SET #q = #q + :one", "ExpressionAttributeNames": {"#q": "sequence"},
                "ExpressionAttributeValues": {":one": {"N": "1"}},
            })  # fmt: skip

        with_client(address, take)
        yield from batches

    address = store.address
    rows = store.spark.createDataFrame([("d1", 0.5, "m1")], COLUMNS).repartition(1).mapInArrow(loses_lease, COLUMNS)
    with pytest.raises(Exception, match="view relevance: another push took over from sequence 1"):
        rows.write.format("tailrace").options(**store.options).mode("append").save()

    assert store.items() == {}


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
    first = store.control()
    stream.land(("d2", 0.75, "m2"))
    stream.land(("d3", 1.0, "m2"))
    stream.run()

    assert store.values() == {"d1": (0.5, "m1"), "d2": (0.75, "m2"), "d3": (1.0, "m2")}
    assert store.control().sequence == first.sequence + 2
    assert len(set(store.sequences().values())) == 3
    assert store.control().lease_until == 0


def test_a_micro_batch_that_was_cut_off_is_repeated_at_once(stream, store):
    stream.land(("d1", 0.5, "m1"))
    stream.run()
    first = store.control()
    owner = owner_of(str(stream.checkpoint))
    with_client(store.address, lambda client: control.take_lease(client, "relevance", owner=owner, seconds=3_600))
    stream.land(("d2", 0.75, "m1"))
    stream.run()

    assert store.values() == {"d1": (0.5, "m1"), "d2": (0.75, "m1")}
    assert store.control().sequence == first.sequence + 2


def test_a_stream_that_lost_its_store_fails_and_goes_on_later(stream, store):
    stream.land(("d1", 0.5, "m1"))
    url = store.options["TAILRACE_STORE_URL"]
    store.options["TAILRACE_STORE_URL"] = "http://127.0.0.1:9"
    with pytest.raises(Exception, match="Unreachable"):
        stream.run()
    store.options["TAILRACE_STORE_URL"] = url
    stream.run()

    assert store.values() == {"d1": (0.5, "m1")}
