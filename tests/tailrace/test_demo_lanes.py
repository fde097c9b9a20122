"""The demo's last scene: an opened document lands as an event, and is in the ranker's next answer."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.streaming.checkpoint import checkpoint_of
from tailrace.cli.demo import opened_line
from tailrace.demo import ranking
from tailrace.demo.ranking import following, land_opening, open_document, shows
from tailrace.errors import CommandError
from tailrace.workspace.workspace import Workspace

NINE = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
ENTITIES = {"actor_id": ["u1", "u1"], "document_id": ["d1", "d2"]}


def answered(opens, last):
    names = ["actor_id", "document_id", "last_opened_at", "opens_15m", "opens_1h"]
    columns = (*ENTITIES.values(), [last, None], [opens, None], [opens, None])
    results = [{"values": values} for values in columns]
    return {"metadata": {"feature_names": names}, "results": results}, {}


@pytest.fixture
def landing_home(make_settings, monkeypatch):
    """A home whose reader tells at once what landed in its folder."""
    settings = make_settings()

    def ask(address, query, *, times):
        assert (address, query, times) == (
            "http://reader",
            {"features": ["actor_document_recent"], "entities": ENTITIES},
            1,
        )
        landed = sorted(Path(settings.landing, "events").glob("*.jsonl"))
        events = [json.loads(path.read_text()) for path in landed]
        return answered(len(events) or None, events[-1]["occurred_at"] if events else None)

    monkeypatch.setattr(ranking, "ask", ask)
    return Workspace(settings=settings)


def test_the_event_lands_in_a_file_of_its_own(tmp_path):
    land_opening(tmp_path, "u1", "d1", NINE)

    [path] = (tmp_path / "events").iterdir()
    assert path.name == "opened-20260302T090000.jsonl"
    assert json.loads(path.read_text()) == {
        "event_id": "opened-20260302T090000",
        "event_type": "open",
        "actor_id": "u1",
        "document_id": "d1",
        "occurred_at": "2026-03-02T09:00:00.123456Z",
    }


def test_what_is_told_is_before_and_after(landing_home):
    before = datetime.now(UTC)
    opened = open_document(landing_home, "http://reader", ENTITIES)

    assert (opened["actor_id"], opened["document_id"]) == ("u1", "d1")
    assert (opened["opens_15m_before"], opened["opens_15m"], opened["last_opened_at_before"]) == (None, 1, None)
    assert before <= datetime.fromisoformat(opened["last_opened_at"]) <= datetime.now(UTC)
    assert opened["answered_ms"] > 0


def test_an_answer_that_never_shows_it_fails_the_demo(landing_home, monkeypatch):
    monkeypatch.setattr(ranking, "ask", lambda *_, **__: answered(2, "2026-03-02T08:00:00Z"))
    monkeypatch.setattr(ranking, "LONGEST_WAIT", 0.1)

    with pytest.raises(CommandError, match="d1 was opened, and the reader does not answer it"):
        open_document(landing_home, "http://reader", ENTITIES)


@pytest.mark.parametrize(
    ("opens", "last", "is_shown"),
    [
        (1, "2026-03-02T09:00:00.123456Z", True),
        (0, "2026-03-02T09:00:00.123456Z", False),
        (1, "2026-03-02T08:59:59Z", False),
        (None, None, False),
    ],
)
def test_an_opening_is_shown_by_its_time_and_its_count(opens, last, is_shown):
    assert shows({"opens_15m": opens, "last_opened_at": last}, NINE) is is_shown


def test_people_are_told_before_after_and_how_long_it_took():
    opened = {"actor_id": "u1", "document_id": "d1", "opens_15m": 1, "last_opened_at": "2026-03-02T09:00:00Z"}
    opened |= {
        "opens_15m_before": None,
        "last_opened_at_before": None,
        "answered_ms": 1_234.5,
        "caught_up_seconds": 7.5,
    }

    assert opened_line(opened) == (
        "u1 opened d1, and 1.23 s later the ranker's next answer had it: opens_15m - → 1, last_opened_at - → "
        "2026-03-02T09:00:00Z. The stream had taken all that landed before in 7.5 s."
    )


@pytest.mark.slow
@pytest.mark.usefixtures("patient_readers")
def test_the_stream_brings_it_to_the_reader(spark, make_settings):
    home = Workspace(settings=make_settings())
    land_opening(Path(home.settings.landing), "u1", "d1", NINE)

    with ranking.reader(home.settings) as address, following(home):
        opened = open_document(home, address, ENTITIES)

    assert (opened["opens_15m_before"], opened["opens_15m"]) == (0, 1)
    assert opened["last_opened_at_before"] == "2026-03-02T09:00:00.123456Z"
    assert not checkpoint_of(home.settings.home).exists()  # whoever has the home next may follow a topic
