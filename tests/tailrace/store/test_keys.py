from itertools import permutations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tailrace.store.dynamodb.calls import control_key
from tailrace.store.keys import ItemKeyError, ids_of, item_keys

NAMES = st.from_regex("[a-z][a-z0-9_]{0,6}", fullmatch=True)
IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("0123456789:|+#", max_size=6)
ENTITIES = {"actor": "actor_id", "document": "document_id"}


def key_of(ids):
    """The item key of ids by entity name."""
    return item_keys({name: f"{name}_id" for name in ids}, {f"{name}_id": [one] for name, one in ids.items()})[0]


rows = st.dictionaries(NAMES, IDS, min_size=1, max_size=3)


@given(rows, rows)
@example({"a": "1", "b": "23"}, {"a": "12", "b": "3"})
@example({"a": "1:1"}, {"a": "1"})
def test_no_two_rows_share_a_key(one, two):
    assert (key_of(one) == key_of(two)) == (one == two)


@given(st.tuples(IDS, IDS), st.tuples(IDS, IDS))
def test_no_two_pairs_of_the_same_entities_share_a_key(one, two):
    keys = item_keys(ENTITIES, {"actor_id": [one[0], two[0]], "document_id": [one[1], two[1]]})

    assert (keys[0] == keys[1]) == (one == two)


def test_ids_that_read_alike_one_after_another_have_different_keys():
    keys = item_keys(ENTITIES, {"actor_id": ["1", "12", "123", ""], "document_id": ["23", "3", "", "123"]})

    assert keys == [
        "actor+document|1:12:23",
        "actor+document|2:121:3",
        "actor+document|3:1230:",
        "actor+document|0:3:123",
    ]


@given(rows)
def test_a_key_is_taken_apart_again(ids):
    assert ids_of(key_of(ids)) == ids


@given(st.dictionaries(NAMES, IDS, min_size=2, max_size=3))
def test_the_order_of_entities_does_not_matter(ids):
    assert len({key_of(dict(order)) for order in permutations(ids.items())}) == 1


def test_ids_follow_their_columns_and_not_their_order():
    entities = {"document": "document_id", "actor": "actor_id"}

    assert item_keys(entities, {"document_id": ["d1"], "actor_id": ["u1"]}) == ["actor+document|2:u12:d1"]


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        item_keys(ENTITIES, {"actor_id": ["u1"], "document_id": ["d1", "d2"]})


def test_no_entity_key_is_a_control_key():
    assert not key_of({"control": "visits"}).startswith("#")
    assert control_key("visits") == "#control|visits"


@pytest.mark.parametrize("letter", ["a", "ß", "漢", "😀"])
def test_a_key_takes_up_to_2048_bytes_and_not_one_more(letter):
    size = len(letter.encode())
    most = (2_048 - len("document|1000:")) // size
    prefix = len(f"document|{most}:")
    room = 2_048 - prefix - most * size
    fits = letter * most

    [key] = item_keys({"document": "document_id"}, {"document_id": [fits]})

    assert len(key.encode()) == 2_048 - room
    with pytest.raises(ItemKeyError):
        item_keys({"document": "document_id"}, {"document_id": ["d", fits + "a" * (room + 1)]})


def test_a_key_that_is_too_long_is_named_with_its_size():
    long = "folder/" * 300

    with pytest.raises(ItemKeyError) as refusal:
        item_keys(ENTITIES, {"actor_id": ["u1"], "document_id": [long]})

    size = len(f"actor+document|2:u1{len(long)}:{long}")
    assert str(refusal.value).startswith("the actor+document key '2:u12100:folder/folder/")
    assert f"needs {size} bytes as an item key; the store takes at most 2048" in str(refusal.value)


def test_two_ids_of_the_greatest_length_that_may_land_fit_together():
    ids = {"actor_id": ["a" * 1_000], "document_id": ["d" * 1_000]}

    assert len(item_keys(ENTITIES, ids)[0].encode()) <= 2_048
