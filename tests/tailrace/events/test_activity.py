from collections import Counter

import pytest

from tailrace.events import catalogue, organisation
from tailrace.events.draws import DAY

KEY = (7,)
START = 1_000 * DAY


@pytest.fixture(scope="module")
def documents():
    return catalogue.invent_catalogue(300, actors=20, key=KEY)


@pytest.fixture(scope="module")
def month(documents):
    return organisation.invent_activity(documents, events=20_000, start=START, end=START + 30 * DAY, key=KEY)


def test_events_of_one_moment_are_sorted_by_id(documents):
    moment = organisation.invent_activity(documents, events=100, start=START, end=START + 2, key=KEY)

    order = list(zip(moment.time.tolist(), moment.number.tolist(), strict=True))
    assert order == sorted(order)
    assert set(moment.time.tolist()) == {START + 1, START + 2}


def test_every_event_has_an_id_of_its_own(month):
    deliveries = Counter(month.number.tolist())

    assert len(deliveries) == 20_000
    assert Counter(deliveries.values()) == {1: 19_900, 2: 100}


def test_owners_edit_their_documents_more_often_than_others_do(documents, month):
    edits = month.type == organisation.EDIT
    by_owner = month.actor[edits] == documents.owner[month.document[edits]]
    others = month.actor[~edits] == documents.owner[month.document[~edits]]

    assert others.mean() + 0.2 < by_owner.mean() < 0.8


def test_what_was_viewed_opened_or_edited_names_the_client(documents, month):
    rows = month.rows(documents)

    clients = Counter((row["event_type"], row["attributes"]["client"]) for row in rows if "attributes" in row)
    assert {type_ for type_, _ in clients} == {"view", "open", "edit"}
    assert clients["view", "web"] > clients["view", "desktop"] > clients["view", "mobile"] > 0
    assert len(rows) - clients.total() == sum(
        row["event_type"] in {"comment", "share", "join", "create", "delete"} for row in rows
    )
