"""The record of schemas: values of every schema that a history holds stay readable."""

from dataclasses import replace

import pytest

from sinks import history as published
from sinks import push
from sinks.history import Schema, features_by_fingerprint, lost_schemas
from tailrace.definitions import Feature, Type
from tailrace.schemas import view_tables
from tailrace.store.codec import Codec, fingerprints
from tests.sinks.publisher import VISITS

VIEWS = Feature("views", Type.INT64, "how many")
HIDDEN = Feature("hidden", Type.BOOL, "not online")
COUNTED = replace(VISITS, transform_features=(VIEWS,), online_when=None)
FLAGGED = replace(VISITS, transform_features=(HIDDEN,), online_when=None)


def rows(lake):
    """View, schema, definition, backfill and first sequence of each row, in the order in which they were made."""
    found = lake.read(view_tables.SCHEMAS).orderBy("recorded_at", "first_sequence").collect()
    return [(row.view, row.schema, row.definition, row.backfill, row.first_sequence) for row in found]


def decoded(lake):
    """Every value of the history, decoded through the record: sequence and features; None where its schema is lost."""
    known = features_by_fingerprint(lake, "visits")
    found = set()
    for row in lake.read(view_tables.history_table("visits")).where("value IS NOT NULL").collect():
        features = known[fingerprints([row.value])[0]]
        values = features and Codec("visits", features).decode([row.value]).columns
        found.add((row.sequence, values and tuple(column.values[0].item() for column in values)))
    return found


def jobs(lake):
    return lake.spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs()


def refuse():
    raise AssertionError("nothing is to be recorded")


@pytest.mark.slow
def test_values_of_every_schema_are_decoded_and_a_recorded_schema_costs_no_job(publisher, monkeypatch):
    lake = publisher.lake
    publisher.become(a=1, b=2)
    monkeypatch.setattr(push, "definition_at", lambda *_: "first")
    with monkeypatch.context() as patch:
        patch.setattr(published, "record", full_disk)
        with pytest.raises(OSError, match="disk"):
            publisher.push()
    assert rows(lake) == [("visits", VISITS.fingerprint, "first", None, 1)]  # before any value of it
    publisher.push()
    publisher.push(COUNTED)
    monkeypatch.setattr(push, "definition_at", lambda *_: "second")
    publisher.become(a=1, b=3)
    publisher.push(COUNTED)

    newest = Schema(view="visits", features=COUNTED.features, definition="second")
    before = jobs(lake), lake.version(view_tables.SCHEMAS)
    published.ensure_recorded(lake, newest, first_sequence=refuse)
    assert (jobs(lake), lake.version(view_tables.SCHEMAS)) == before
    published.ensure_recorded(lake, replace(newest, definition="first"), first_sequence=lambda: 9)  # as it was before

    assert rows(lake) == [
        ("visits", VISITS.fingerprint, "first", None, 1),
        ("visits", COUNTED.fingerprint, "first", None, 3),
        ("visits", COUNTED.fingerprint, "second", None, 4),
        ("visits", COUNTED.fingerprint, "first", None, 9),
    ]
    assert decoded(lake) == {(2, (1, False)), (2, (2, False)), (3, (1,)), (3, (2,)), (4, (3,))}
    assert lost_schemas(lake) == {}


def full_disk(*_, **__):
    raise OSError("the disk is full")


@pytest.mark.slow
def test_a_history_from_before_the_record_gets_what_is_still_known_and_names_the_rest(publisher, monkeypatch):
    lake = publisher.lake
    lake.drop(view_tables.SCHEMAS)
    publisher.become(a=1, b=2)
    with monkeypatch.context() as older:
        older.setattr(published, "ensure_recorded", lambda *_, **__: None)
        publisher.push()
        publisher.push(COUNTED)
        assert not lake.exists(view_tables.SCHEMAS)

    publisher.push(FLAGGED)
    count = len(rows(lake))
    published.account_for_older(lake, VISITS)

    assert rows(lake) == [
        ("visits", VISITS.fingerprint, None, None, 1),
        ("visits", COUNTED.fingerprint, None, None, 2),  # the control item had it
        ("visits", FLAGGED.fingerprint, None, None, 3),
    ]
    assert len(rows(lake)) == count
    assert decoded(lake) == {(1, None), (2, (1,)), (2, (2,)), (3, (False,))}
    assert lost_schemas(lake) == {"visits": [VISITS.fingerprint]}
