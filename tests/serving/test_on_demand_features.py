"""Features finished at read time."""

from datetime import UTC, datetime, timedelta

import pytest

from tailrace.definitions import load_definitions
from tailrace.shipped.document_activity import document_activity

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
TEN = NINE + timedelta(hours=1)
EPOCH = "1970-01-01T00:00:00Z"
DOCUMENTS = {"document_id": ["d1"]}

DEFINITIONS = """
from datetime import timedelta
import numpy as np
from tailrace.definitions import Entity, Feature, FeatureView, Type, on_demand

def transform(documents):
    raise NotImplementedError

def view(name, entity, *features):
    return FeatureView(name=name, entities=(entity,), owner="o", description="d", freshness=timedelta(hours=1),
                       transform=transform, transform_features=features)

PAGE = Entity("page", "page_id", "a page")
BOOK = Entity("book", "book_id", "a book")
pages = view("pages", PAGE, Feature("words", Type.INT64, "w"), Feature("score", Type.FLOAT64, "s"),
             Feature("title", Type.STRING, "t"), Feature("printed_at", Type.TIMESTAMP, "p"), Feature("name", Type.STRING, "n"))
books = view("books", BOOK, Feature("pages", Type.INT64, "p"), Feature("name", Type.STRING, "n"), Feature("page_id", Type.STRING, "i"))

def declare(type, *inputs):
    return on_demand(type=type, inputs=inputs, owner="o", description="d")

@declare(Type.FLOAT64, "pages:words", "books:pages")
def share(words, pages):
    return words / pages

@declare(Type.INT64, "pages:words", "books:pages")
def whole_share(words, pages):
    return words / pages

@declare(Type.FLOAT64, "pages:score")
def same_score(score):
    return score

@declare(Type.TIMESTAMP, "pages:printed_at")
def never(printed_at):
    return np.full(len(printed_at), np.datetime64("NaT", "us"))

@declare(Type.STRING, "pages:title")
def shouted(title):
    return np.array([one.upper() for one in title])

@declare(Type.BOOL, "pages:words")
def is_long(words):
    return words > 100

@declare(Type.FLOAT64, "pages:words")
def one(words):
    return 1.0

@declare(Type.FLOAT64, "pages:words")
def broken(words):
    raise KeyError("lost")

@declare(Type.FLOAT64, "pages:words")
def misshapen(words):
    return np.zeros(len(words) + 1)

@declare(Type.FLOAT64, "pages:words")
def name(words):
    return words
"""

PAGE_ROW = {"words": 120, "score": 0.5, "title": "été", "printed_at": NINE.replace(tzinfo=None), "name": "p"}
BOOK_ROW = {"pages": 40, "name": "b", "page_id": "x"}


@pytest.fixture
def definitions(tmp_path):
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    return load_definitions([str(tmp_path)])


@pytest.fixture
def put(store, definitions):
    def put(page, book, **override):
        for name, row, id_, as_of in (("pages", PAGE_ROW, page, NINE), ("books", BOOK_ROW, book, TEN)):
            if id_:
                key = {"pages": "page_id", "books": "book_id"}[name]
                known = {feature: override.get(feature, value) for feature, value in row.items()}
                store.put(definitions.views[name], {key: id_}, known, as_of=as_of)

    return put


def test_a_result_is_as_new_as_the_newest_of_its_inputs(put, reader):
    put("p1", "b1")

    cells = reader.cells("share", entities={"page_id": ["p1"], "book_id": ["b1"]})

    assert cells == [(3.0, "PRESENT", "2026-03-01T10:00:00Z")]


def test_the_views_of_the_inputs_are_told(put, reader):
    answer = reader.ask(features=["share"], entities={"page_id": ["p1"], "book_id": ["b1"]})

    assert set(answer["metadata"]["views"]) == {"pages", "books"}
    assert answer["metadata"]["feature_names"] == ["page_id", "book_id", "share"]


def test_a_result_is_not_found_if_any_input_was_not_and_else_null_if_any_is(put, reader):
    put("p1", "b1")
    put("p2", "b2", words=None)

    keys = {"page_id": ["p1", "p2", "p2", "no", "p1"], "book_id": ["no", "b1", "no", "no", "b1"]}
    cells = reader.cells("share", entities=keys)

    assert cells == [
        (None, "NOT_FOUND", EPOCH),
        (None, "NULL_VALUE", "2026-03-01T10:00:00Z"),
        (None, "NOT_FOUND", EPOCH),
        (None, "NOT_FOUND", EPOCH),
        (3.0, "PRESENT", "2026-03-01T10:00:00Z"),
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("feature", "inputs", "expected"),
    [
        ("share", {"words": 0, "pages": 0}, (None, "NULL_VALUE")),
        ("share", {"words": 5, "pages": 0}, ("Infinity", "PRESENT")),
        ("share", {"words": -5, "pages": 0}, ("-Infinity", "PRESENT")),
        ("whole_share", {"words": 0, "pages": 0}, (None, "NULL_VALUE")),
        ("whole_share", {"words": 5, "pages": 0}, (None, "NULL_VALUE")),
        ("whole_share", {"words": 80, "pages": 40}, (2, "PRESENT")),
    ],
)
def test_what_is_no_number_is_null(put, reader, feature, inputs, expected):
    put("p1", "b1", **inputs)

    assert reader.values(feature, entities={"page_id": ["p1"], "book_id": ["b1"]}) == [expected]


@pytest.mark.parametrize(
    ("feature", "expected"),
    [("shouted", "ÉTÉ"), ("is_long", True), ("one", 1.0), ("never", None), ("same_score", 0.5)],
)
def test_results_have_the_declared_type(put, reader, feature, expected):
    put("p1", None)

    [(value, status)] = reader.values(feature, entities={"page_id": ["p1"]})

    assert (value, type(value), status) == (expected, type(expected), "NULL_VALUE" if expected is None else "PRESENT")


@pytest.mark.parametrize(
    ("score", "told"), [(float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity"), (1e300, 1e300)]
)
def test_a_stored_float_that_json_has_no_number_for_is_told_in_words(put, reader, score, told):
    put("p1", None, score=score)
    put("p2", None, score=0.25)
    put("p3", None, score=None)

    values = reader.values("pages:score", entities={"page_id": ["p1", "p2"]})
    beside_null = reader.values("pages:score", entities={"page_id": ["p3", "p1"]})

    assert values == [(told, "PRESENT"), (0.25, "PRESENT")]
    assert beside_null == [(None, "NULL_VALUE"), (told, "PRESENT")]


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "9999-12-31T23:59:59Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC), "1969-12-31T23:59:59.000001Z"),
    ],
)
def test_times_far_away_are_told(put, reader, time, told):
    put("p1", None, printed_at=time.replace(tzinfo=None))
    put("p2", None, printed_at=None)

    alone = reader.values("pages:printed_at", entities={"page_id": ["p1"]})
    values = reader.values("pages:printed_at", entities={"page_id": ["p2", "p1"]})

    assert alone == [(told, "PRESENT")]
    assert values == [(None, "NULL_VALUE"), (told, "PRESENT")]


@pytest.mark.parametrize(
    ("feature", "words"), [("broken", ["'broken'", "KeyError", "lost"]), ("misshapen", ["'misshapen'"])]
)
def test_a_function_that_fails_is_named(put, reader, feature, words):
    put("p1", None)

    status, answer = reader.send(
        "POST", "/get-online-features", json={"features": [feature], "entities": {"page_id": ["p1"]}}
    )

    assert status == 500
    assert [word for word in words if word not in answer["detail"]] == []


def test_a_function_never_sees_rows_without_values(put, reader):
    assert reader.values("broken", entities={"page_id": ["no"]}) == [(None, "NOT_FOUND")]


def test_an_on_demand_name_stays_bare_and_a_stored_one_gives_way(put, reader):
    keys = {"page_id": ["p1"], "book_id": ["b1"]}
    answer = reader.ask(features=["name", "pages:name", "books:page_id", "books:pages"], entities=keys)

    assert answer["metadata"]["feature_names"] == [
        "page_id",
        "book_id",
        "name",
        "pages__name",
        "books__page_id",
        "pages",
    ]


def test_now_is_the_time_of_the_request(store, start_reader):
    reader = start_reader(load_definitions())
    edited = datetime.now(UTC) - timedelta(hours=3)
    store.put(document_activity, {"document_id": "d1"}, {"last_edit_at": edited.replace(tzinfo=None)}, as_of=NINE)

    [(hours, status)] = reader.values("hours_since_last_edit", entities=DOCUMENTS)

    assert (hours, status) == (pytest.approx(3, abs=0.01), "PRESENT")
