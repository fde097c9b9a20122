"""Bodies that mean two things, or go on for ever."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.common.request import BadRequest, check_duplicates, parse_request
from tailrace.schemas.ids import Duplicate


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"features": ["a"], "features": ["a"], "entities": {"k": ["1"]}}', "features"),
        ('{"features": ["v:a"], "features": ["v:a", "v:b"], "entities": {"k": ["1"]}}', "features"),
        ('{"features": ["v:a"], "features": ["va"], "entities": {"k": ["1"]}}', "features"),
        ('{"features": ["a"], "\\u0066eatures": ["b"], "entities": {"k": ["1"]}}', "features"),
        ('{"feature_service": "s", "entities": {"k": ["1"]}, "entities": {"k": ["2"]}}', "entities"),
        ('{"feature_service": "s", "entities": {"k": ["1"], "k": ["2"]}}', "k"),
        ('{"feature_service": "s", "entities": {"k": ["1"], "\\u006b": ["2"]}}', "k"),
        (
            '{"feature_service": "s", "entities": {"k": ["1"]}, "full_feature_names": true, "full_feature_names": false}',
            "full",
        ),
        ('{"feature_service": "s", "feature_service": "\\u003a", "entities": {"k": ["1"]}}', "feature_service"),
        ('{"feature_service": "s", "entities": {"k": ["\\u003a"], "k": ["\\u003a"]}}', "k"),
        ('{"feature_service": "s", "entities": {"k": {"a": {"b": [1e99]}}, "k": ["2"]}}', "k"),
    ],
    ids=range(11),
)
def test_a_field_that_is_given_twice_is_refused(body, name):
    with pytest.raises(BadRequest, match=f"^field '{name}.*' is given twice; give it once$"):
        parse_request(body.encode())


def test_a_field_that_is_given_twice_is_told_over_http(reader):
    body = b'{"features": ["document_activity"], "entities": {"document_id": ["d1"], "document_id": ["d2"]}}'

    status, answer = reader.send("POST", "/get-online-features", data=body)

    assert (status, answer) == (400, {"detail": "field 'document_id' is given twice; give it once"})


@pytest.mark.parametrize(
    "body",
    [
        '{"feature_service": "s", "entities": {"k": [":", "a:b", "::"]}}',
        '{"feature_service": "s", "entities": {"k": ["\\u003a", "\\\\u003a", "\\"k\\": 1"]}}',
        '{"features": ["v:a", "v:a", "v:b"], "entities": {"k:k": ["1"], "k": ["1"]}}',
        '{"features": ["a"], "feature_service": null, "entities": {"k": [1, 2, "a:"]}}',
        '{"entities":{"k":["ключ:1"]},"feature_service":"s:s","full_feature_names":true}',
        '{ "feature_service" :\t"s" , "entities"\n:\r{"k" : [ "1" ] } }',
    ],
)
def test_colons_that_are_no_fields_are_left_alone(body):
    asked = parse_request(body.encode())

    assert asked.ids == {key: list(map(str, ids)) for key, ids in json.loads(body)["entities"].items()}


@pytest.mark.parametrize("documents", [[], ["d1"], ["d1", "d2"]])
def test_a_field_given_twice_is_found_beside_one_id_for_all_rows(documents):
    once = {"feature_service": "s", "entities": {"document_id": documents, "actor_id": "a:b"}}
    body = json.dumps(once).encode()

    assert parse_request(body).shared == {"actor_id"}
    for field in ("feature_service", "actor_id"):
        twice = body.replace(f'"{field}": '.encode(), f'"{field}": "x", "{field}": '.encode())
        with pytest.raises(BadRequest, match=f"field '{field}' is given twice"):
            parse_request(twice)


TEXT = st.text(st.sampled_from('ab:"\\u003,{}é'), max_size=4)
IDS = st.lists(TEXT | st.integers(0, 9), min_size=1, max_size=3)


@st.composite
def bodies(draw):
    """A body with fields given once or twice, and whether any was; each string escaped in one of two ways."""
    ascii_only = draw(st.booleans())

    def written(value):
        return json.dumps(value, ensure_ascii=ascii_only)

    def name(text):
        return written(text) if draw(st.booleans()) else '"' + "".join(f"\\u{ord(one):04x}" for one in text) + '"'

    keys = draw(st.lists(TEXT, min_size=1, max_size=3))
    entities = ",".join(f"{name(key)}:{written(draw(IDS))}" for key in keys)
    top = ["feature_service", "entities", *draw(st.lists(st.sampled_from(["feature_service", "entities"]), max_size=1))]
    values = {"feature_service": written(draw(TEXT)), "entities": "{" + entities + "}"}
    body = "{" + ",".join(f"{name(field)}:{values[field]}" for field in top) + "}"
    return body.encode(), len(set(top)) < len(top) or len(set(keys)) < len(keys)


@given(bodies())
def test_a_duplicate_is_found_wherever_it_is_and_nothing_else_is(made):
    body, twice = made
    asked = json.loads(body)
    ids = {key: [str(one) for one in ids] for key, ids in asked["entities"].items()}

    try:
        texts = [[asked["feature_service"]], ids, *ids.values()]
        check_duplicates(body, fields=len(asked) + len(ids), texts=texts)
        found = False
    except Duplicate:
        found = True

    assert found is twice


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"entities": ' * 10_000 + b"1" + b"}" * 10_000,
        b'{"feature_service": "s", "entities": {"k": ' + b"[" * 1018 + b"]" * 1018 + b', "k": ["1"]}}',
    ],
)
def test_what_is_nested_too_deep_is_refused(reader, body):
    status, answer = reader.send("POST", "/get-online-features", data=body)

    assert (status, list(answer)) == (400, ["detail"])
    assert "nested too deep" in answer["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "nan", "0x1", "01", "+1"])
def test_what_is_no_number_in_json_is_refused(reader, number):
    body = b'{"feature_service": "ranker", "entities": {"document_id": [1]}}'.replace(b"1", number.encode())

    status, answer = reader.send("POST", "/get-online-features", data=body)

    assert (status, list(answer)) == (400, ["detail"])
    assert "the body is not JSON" in answer["detail"]


def test_more_features_than_may_be_named_are_refused(reader):
    asked = {"entities": {"document_id": ["d1"]}}

    status, answer = reader.send(
        "POST", "/get-online-features", json=asked | {"features": ["document_activity:views_24h"] * 501}
    )

    assert (status, answer) == (400, {"detail": "field 'features' names 501; name at most 500 at once"})
    most = {"features": ["document_activity:views_24h"] * 500}
    assert reader.send("POST", "/get-online-features", json=asked | most)[0] == 200
