import hashlib
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events.files import WorkspaceError
from tailrace.events.organisation import Organisation, generate

END = datetime(2026, 3, 4, 9, 30, 0, 7, UTC)
ORGANISATION = Organisation(documents=2_000, actors=64, days=30, seed=7, end=END)
SMALL = replace(ORGANISATION, documents=40, actors=5, days=3)
ORGANISATIONS = st.builds(
    Organisation,
    documents=st.integers(1, 60),
    actors=st.integers(1, 20),
    days=st.integers(1, 5),
    seed=st.integers(0, 2**70),
    end=st.timedeltas(timedelta(days=-15_000), timedelta(days=30_000)).map(END.__add__),
    events_per_day=st.none() | st.integers(1, 80),
)


@pytest.fixture(scope="module")
def invented():
    return generate(ORGANISATION)


@pytest.fixture(scope="module")
def documents(invented):
    return {document["id"]: document for document in invented[0]}


@pytest.fixture(scope="module")
def events(invented):
    """The different events, in their order."""
    return list({event["event_id"]: event for event in invented[1]}.values())


@pytest.fixture(scope="module")
def histories(events):
    by_document = defaultdict(list)
    for event in events:
        by_document[event["document_id"]].append(event)
    return by_document


def test_equal_workspaces_are_the_same_on_every_machine():
    first, second = (generate(SMALL) for _ in range(2))

    assert first == second
    # Whoever changes what is invented writes the new digest here; a platform or a hash seed must not.
    assert hashlib.sha256(orjson.dumps(first)).hexdigest()[:16] == "e0fb9fed5f4cbce5"


@pytest.mark.parametrize("change", [{"seed": 8}, {"days": 4}, {"documents": 41}, {"end": END + timedelta(hours=1)}])
def test_different_workspaces_share_no_event(change):
    first, second = (generate(workspace)[1] for workspace in (SMALL, replace(SMALL, **change)))

    assert not {event["event_id"] for event in first} & {event["event_id"] for event in second}


@given(ORGANISATIONS)
def test_any_workspace_keeps_its_counts_range_and_order(workspace):
    documents, events = generate(workspace)

    times = [datetime.fromisoformat(event["occurred_at"]) for event in events]
    different = {event["event_id"]: event for event in events}
    assert len(documents) == len({document["id"] for document in documents}) == workspace.documents
    assert len(different) == workspace.events
    assert len(events) == workspace.events + round(workspace.events * 0.005)
    assert all(different[event["event_id"]] == event for event in events)
    assert max(Counter(event["event_id"] for event in events).values()) <= 2
    assert workspace.end - timedelta(days=workspace.days) < min(times)
    assert max(times) <= workspace.end
    assert list(zip(times, (event["event_id"] for event in events), strict=True)) == sorted(
        (datetime.fromisoformat(event["occurred_at"]), event["event_id"]) for event in events
    )
    assert {event["document_id"] for event in events} <= {document["id"] for document in documents}
    assert all(datetime.fromisoformat(document["updated_at"]) <= workspace.end for document in documents)


def test_a_quarter_event_happens_per_document_and_day_unless_told():
    assert ORGANISATION.events == 15_000
    assert replace(ORGANISATION, events_per_day=11).events == 330


def test_rows_have_the_fields_of_the_landing_format(invented):
    documents, events = invented

    assert {tuple(document) for document in documents} == {
        ("id", "title", "type", "size", "folder", "owner", "updated_at")
    }
    fields = ("event_id", "event_type", "actor_id", "document_id", "occurred_at", "source")
    assert {tuple(event) for event in events} == {fields, (*fields, "attributes")}
    assert all(len(event["event_id"]) == 17 and int(event["event_id"][1:], 16) for event in events)
    assert all(isinstance(document["size"], int) and document["size"] >= 256 for document in documents)


def test_views_are_most_of_what_happens_and_deletions_few(events):
    shares = {type_: count / len(events) for type_, count in Counter(event["event_type"] for event in events).items()}

    assert list(shares.keys() ^ {"view", "open", "edit", "comment", "share", "join", "create", "delete"}) == []
    assert 0.5 < shares["view"] < 0.7
    assert 0 < shares["delete"] < 0.005


def test_a_document_born_in_the_range_is_created_first_and_by_its_owner(documents, histories):
    born = [history for history in histories.values() if any(event["event_type"] == "create" for event in history)]
    anew = [history for history in born if any(event["event_type"] == "delete" for event in history)]

    firsts = [history[0] for history in born if history not in anew]
    assert 0.05 < len(firsts) / len(documents) < 0.12
    assert {first["event_type"] for first in firsts} == {"create"}
    assert all(first["actor_id"] == documents[first["document_id"]]["owner"] for first in firsts)


def test_little_happens_after_a_deletion_and_some_documents_come_back(histories):
    afterwards = []
    for history in histories.values():
        types = [event["event_type"] for event in history]
        if "delete" in types:
            afterwards.append(types[types.index("delete") + 1 :])

    assert len(afterwards) > 40
    assert 0.5 < sum(not types for types in afterwards) / len(afterwards) < 0.95
    assert any("create" in types for types in afterwards)
    assert any(types[0] != "create" for types in afterwards if types)


def test_few_documents_and_few_actors_cause_most_events(events):
    for field, share in (("document_id", 0.5), ("actor_id", 0.2)):
        counts = sorted(Counter(event[field] for event in events).values(), reverse=True)
        assert sum(counts[: len(counts) // 10]) > share * len(events)


def test_people_mostly_work_in_the_folders_of_their_team(documents, events):
    teams_of_actors: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        teams_of_actors[event["actor_id"]][documents[event["document_id"]]["folder"].split("/")[1]] += 1

    at_home = sum(teams.most_common(1)[0][1] for teams in teams_of_actors.values())
    assert len({teams.most_common(1)[0][0] for teams in teams_of_actors.values()}) > 4
    assert 0.7 < at_home / len(events) < 0.98


def test_folders_form_a_tree_below_the_root(documents):
    folders = {document["folder"] for document in documents.values()}

    assert "/" in folders
    assert {folder.count("/") for folder in folders} >= {1, 2, 3}
    assert all(folder.startswith("/") and "//" not in folder for folder in folders)


def test_some_titles_are_not_ascii(documents):
    foreign = sum(not document["title"].isascii() for document in documents.values())

    assert 0.1 < foreign / len(documents) < 0.9


def test_a_document_was_updated_at_its_last_edit(documents, histories):
    for name, document in documents.items():
        changes = [event for event in histories[name] if event["event_type"] in {"create", "edit"}]
        if changes:
            assert document["updated_at"] == changes[-1]["occurred_at"]
        else:
            assert datetime.fromisoformat(document["updated_at"]) <= END - timedelta(days=30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents": 0}, "documents is 0; give a whole number of at least 1"),
        ({"actors": 1.5}, "actors is 1.5; give a whole number"),
        ({"days": True}, "days is True; give a whole number"),
        ({"seed": -1}, "seed is -1; give a whole number of at least 0"),
        ({"events_per_day": 0}, "events_per_day is 0; give a whole number of at least 1"),
        ({"end": END.replace(tzinfo=None)}, "end is .* give a time with tzinfo=UTC"),
        ({"end": END.astimezone(timezone(timedelta(hours=1)))}, "end is .* give a time with tzinfo=UTC"),
        ({"days": 30_000}, "days is 30000, which begins before 1970; give at most 20516"),
    ],
)
def test_impossible_workspace_is_refused_by_the_field(change, message):
    with pytest.raises(WorkspaceError, match=message):
        replace(ORGANISATION, **change)
