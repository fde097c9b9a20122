import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events.landing import describe

EVENT = {"event_id": "e1", "document_id": "atlas:a/b/plan.py", "occurred_at": "2026-03-01T10:00:00Z"}


def test_a_document_is_described_by_its_id_and_first_event():
    assert describe([EVENT]) == [
        {
            "id": "atlas:a/b/plan.py",
            "title": "plan.py",
            "type": "py",
            "folder": "/a/b",
            "updated_at": "2026-03-01T10:00:00Z",
        }
    ]


def test_each_document_is_described_once_in_the_order_of_first_events():
    later = {"occurred_at": "2026-03-01T11:00:00Z"}
    events = [
        EVENT | {"document_id": "x:b"},
        EVENT | {"document_id": "x:a"} | later,
        EVENT | {"document_id": "x:b"} | later,
    ]

    described = [(document["id"], document["updated_at"]) for document in describe(events)]

    assert described == [("x:b", "2026-03-01T10:00:00Z"), ("x:a", "2026-03-01T11:00:00Z")]


@pytest.mark.parametrize(
    ("document_id", "title", "folder"),
    [
        ("atlas:plan.py", "plan.py", "/"),
        ("no-colon/plan.py", "plan.py", "/no-colon"),
        ("atlas:a:b/plan:2.py", "plan:2.py", "/a:b"),
        ("atlas://a///plan.py/", "plan.py", "/a"),
        ("atlas:a/ /b c/p q.py", "p q.py", "/a/b c"),
        ("atlas:", "atlas:", "/"),
        ("/", "/", "/"),
        ("", "", "/"),
        ("x:" + "a/" * 2_000 + "b", "b", "/a" * 2_000),
    ],
)
def test_title_and_folder_come_from_any_id(document_id, title, folder):
    [document] = describe([EVENT | {"document_id": document_id}])

    assert (document["id"], document["title"], document["folder"]) == (document_id, title, folder)


@pytest.mark.parametrize(
    ("title", "type_"),
    [
        *(
            ("plan.PY", "py"),
            ("archive.tar.gz", "gz"),
            ("song.mp3", "mp3"),
            ("a.b_c", "b_c"),
            ("x." + "y" * 63, "y" * 63),
        ),
        *(("Makefile", "file"), (".gitignore", "file"), ("ends.", "file"), ("a.b-c", "file"), ("a.é", "file")),
        *(("x." + "y" * 64, "file"), ("a.b c", "file"), ("a.py\n", "file"), ("...", "file")),
    ],
)
def test_type_is_the_extension_where_it_makes_a_name(title, type_):
    assert describe([EVENT | {"document_id": f"atlas:{title}"}])[0]["type"] == type_


@pytest.mark.parametrize(
    "change", [{"document_id": None}, {"document_id": 7}, {"occurred_at": None}, {"occurred_at": "soon"}]
)
def test_an_event_bound_for_quarantine_names_no_document(change):
    assert describe([EVENT | change]) == []
    assert describe([{}]) == []


@given(st.text(st.characters(codec="utf-8")))
def test_every_id_can_be_described_and_written(document_id):
    [document] = describe([EVENT | {"document_id": document_id}])

    assert document["folder"].startswith("/")
    assert document["title"] or not document_id
    assert "/" not in document["title"] or document["title"] == document_id
    assert orjson.loads(orjson.dumps(document)) == document
