"""Fingerprints change when they must, and only then: each change costs a full push or a rebuild."""

from dataclasses import replace
from datetime import timedelta
from types import FunctionType

import pytest

from tailrace.definitions import Count, Entity, Feature, FeatureView, Last, Type
from tailrace.definitions.fingerprints import description_of_function

DOCUMENT = Entity("document", "document_id", "a document")
ACTOR = Entity("actor", "actor_id", "a person")
VIEW = FeatureView(
    name="visits",
    entities=(DOCUMENT,),
    owner="ada",
    description="Visits of a document.",
    freshness=timedelta(minutes=7),
    aggregations=(Count(name="views", types=("view",), over=("3h", "7d")), Last(name="seen_at")),
    online_when="views_7d > 0",
)
SIZE, OWNER = Feature("size", Type.INT64, "its size"), Feature("owner", Type.STRING, "its owner")


def sized(documents):
    return documents


PROFILE = replace(VIEW, aggregations=(), transform=sized, transform_features=(SIZE, OWNER), online_when=None)

SAME_VALUES = [
    {"owner": "bob"},
    {"description": "Something else."},
    {"freshness": timedelta(days=1)},
]


def fingerprints(view):
    return view.fingerprint, view.definition_fingerprint, view.publication_fingerprint


def test_a_fingerprint_is_16_hex_digits_and_the_same_in_every_process():
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in fingerprints(VIEW))
    assert VIEW.fingerprint == "bc2bee73e2fd2b86"


@pytest.mark.parametrize("change", SAME_VALUES, ids=str)
def test_what_touches_no_value_changes_no_fingerprint(change):
    assert fingerprints(replace(VIEW, **change)) == fingerprints(VIEW)


@pytest.mark.parametrize(
    "features",
    [
        (OWNER, SIZE),
        (SIZE,),
        (replace(SIZE, name="bytes"), OWNER),
        (replace(SIZE, type=Type.FLOAT64), OWNER),
    ],
    ids=["order", "one less", "name", "type"],
)
def test_names_order_and_types_of_features_change_every_fingerprint(features):
    changed = replace(PROFILE, transform_features=features)

    assert all(one != other for one, other in zip(fingerprints(changed), fingerprints(PROFILE), strict=True))


def test_the_meaning_of_a_feature_is_no_part_of_the_schema():
    explained = replace(PROFILE, transform_features=(replace(SIZE, meaning="bytes, all told"), OWNER))

    assert explained.fingerprint == PROFILE.fingerprint
    assert explained.publication_fingerprint == PROFILE.publication_fingerprint


def test_what_is_counted_changes_gold_and_not_the_schema():
    other_types = replace(
        VIEW, aggregations=(Count(name="views", types=("open",), over=("3h", "7d")), VIEW.aggregations[1])
    )

    assert other_types.definition_fingerprint != VIEW.definition_fingerprint
    assert other_types.fingerprint == VIEW.fingerprint


def test_other_keys_change_gold():
    assert replace(VIEW, entities=(ACTOR,)).definition_fingerprint != VIEW.definition_fingerprint


def test_the_online_condition_changes_the_store_alone():
    elsewhere = replace(VIEW, online_when="views_7d > 1")

    assert elsewhere.publication_fingerprint != VIEW.publication_fingerprint
    assert elsewhere.definition_fingerprint == VIEW.definition_fingerprint
    assert elsewhere.fingerprint == VIEW.fingerprint


def test_any_change_to_a_transforms_file_changes_gold_and_not_the_schema(folder):
    fields = {
        "aggregations": "()",
        "transform": "sized",
        "transform_features": "(Feature('size', Type.INT64, 'its size'),)",
    }
    found = []
    for name, body in (("one.py", "return documents"), ("two.py", "return documents.limit(1)")):
        folder.write_view(name, **fields)
        path = folder.path / name
        path.write_text(f"def sized(documents):\n    {body}\n" + path.read_text())
        view = folder.load().view("visits")
        found.append((view.fingerprint, view.definition_fingerprint))
        path.unlink()

    (schema, definition), (other_schema, other_definition) = found
    assert schema == other_schema
    assert definition != other_definition


def with_limit(limit):
    def transform(documents):
        return documents.where(f"size_bytes < {limit}")

    return transform


def with_default(documents, *, limit=3):
    return documents.where(f"size_bytes < {limit}")


def test_what_a_function_was_made_with_counts():
    digests = {description_of_text(with_limit(limit)) for limit in (3, 4)}
    again = description_of_text(with_limit(3))
    changed = FunctionType(with_default.__code__, globals(), with_default.__qualname__)
    changed.__kwdefaults__ = {"limit": 4}

    assert len(digests) == 2
    assert again in digests
    assert description_of_text(changed) != description_of_text(with_default)


def description_of_text(function):
    return str(description_of_function(function))
