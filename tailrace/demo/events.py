"""The demo's input: a home of its own, and slots of events."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from tailrace.errors import CommandError
from tailrace.events.busiest import SHOWN, busiest_ticks, occurred_at_of, split
from tailrace.events.files import read_event_rows, write_lines
from tailrace.events.git_history import read_history
from tailrace.events.landing import describe
from tailrace.events.organisation import Organisation, generate
from tailrace.schemas.slots import GRID, last_tick
from tailrace.settings import Settings
from tailrace.shipped.sources import documents, events
from tailrace.store import embedded

MARKER = ".tailrace-demo"
STATE = ("landing", "lake", "store", "direct-log", "stream", "demo")

ORGANISATION = {"documents": 12_000, "actors": 250, "days": 40, "seed": 7}


def empty_home(settings: Settings) -> None:
    """Empty a home that carries the demo's marker, or mark one that holds nothing; refuse any other."""
    home = settings.home.resolve()
    refuse_elsewhere(settings, home)
    marker = home / MARKER
    state = [*(home / name for name in STATE), Path(settings.landing).resolve(), Path(settings.lake).resolve()]
    others = [str(place.relative_to(home)) for place in dict.fromkeys(state) if holds_something(place)]
    if others and not marker.exists():
        raise CommandError(
            f"{home} holds {', '.join(others)} that are not the demo's; "
            "give the demo a home of its own, such as TAILRACE_HOME=demo-home"
        )
    embedded.stop(settings)
    home.mkdir(parents=True, exist_ok=True)
    marker.write_text("The demo empties this folder when it runs again.\n")
    for place in state:
        shutil.rmtree(place, ignore_errors=True)


def refuse_elsewhere(settings: Settings, home: Path) -> None:
    """The demo empties all that it works on: it must lie in its home."""
    for name, place in (("TAILRACE_LANDING", settings.landing), ("TAILRACE_LAKE", settings.lake)):
        if home not in Path(place).resolve().parents:
            raise CommandError(f"{name} is {place}, outside {home}; unset it for the demo, which runs in its home")
    if settings.store.url:
        raise CommandError(f"TAILRACE_STORE_URL is {settings.store.url}; unset it for the demo, which runs in its home")


def holds_something(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


@dataclass(frozen=True, kw_only=True)
class Tick:
    """The lines of the two feeds that land before one refresh."""

    as_of: datetime
    events: list[bytes]
    documents: list[bytes]


def demo_ticks(*, git: Path | None, events: Path | None) -> tuple[str, list[Tick]]:
    """A name for the source, and its four slots."""
    if git is not None:
        lines = [orjson.dumps(event) for event in read_history(git)]
        return f"git history of {git}", replayed(lines)
    if events is not None:
        return f"events of {events}", replayed(list(read_event_rows(events)))
    end = last_tick(datetime.now(UTC))
    documents, generated = generate(Organisation(**ORGANISATION, end=end))
    lines = [orjson.dumps(event) for event in generated]
    parts = split(((line, occurred_at_of(line)) for line in lines), end - (SHOWN - 1) * GRID)
    facts = [[orjson.dumps(document) for document in documents], *([] for _ in parts[1:])]
    name = f"a workspace of {len(documents):,} documents, generated"
    return name, ticks_of(parts, facts, first_end=end - (SHOWN - 1) * GRID)


def replayed(lines: list[bytes]) -> list[Tick]:
    """The busiest late slots of an event file; documents are described by their ids when they first appear."""
    times = [occurred_at_of(line) for line in lines]
    first_end = busiest_ticks(times)
    parts = split(zip(lines, times, strict=True), first_end)
    return ticks_of(parts, list(new_documents(parts)), first_end=first_end)


def new_documents(parts: list[list[bytes]]) -> Iterator[list[bytes]]:
    known: set[str] = set()
    for part in parts:
        readable = [orjson.loads(line) for line in part if occurred_at_of(line) is not None]
        named = [event for event in readable if isinstance(event.get("document_id"), str)]
        described = [document for document in describe(named) if document["id"] not in known]
        known |= {document["id"] for document in described}
        yield [orjson.dumps(document) for document in described]


def ticks_of(parts: list[list[bytes]], facts: list[list[bytes]], *, first_end: datetime) -> list[Tick]:
    return [
        Tick(as_of=first_end + number * GRID, events=part, documents=documents)
        for number, (part, documents) in enumerate(zip(parts, facts, strict=True))
    ]


def land_tick(tick: Tick, landing: Path) -> None:
    """Land what is new at a tick, one file per feed, as a connector would; nothing lands where nothing happened."""
    name = f"{tick.as_of:%Y%m%dT%H%M}.jsonl.gz"
    for feed, rows in ((documents, tick.documents), (events, tick.events)):
        if rows:
            write_lines(rows, landing / feed.name / name)
