"""Feeds that fail independently: of one that is refused nothing is lost or repeated, and the others go on meanwhile."""

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from jobs import blocked
from jobs.bronze import load
from jobs.bronze.claimed import RefusedPart, quarantine
from jobs.bronze.listing import Known, LandedFile, claim, last_claim, read_batch, unfinished
from jobs.bronze.load import Intake
from tailrace.definitions import EventSource, Field, Time, Type
from tailrace.errors import DataError
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import LandingError
from tests.jobs.bronze.landed import NOW, blocked_by, land

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RANK = Field("rank", Type.INT64, required=True)


def feed_of(name, field=RANK):
    return EventSource(name=name, id="id", time=Time("ts"), fields=(field,)).feed()


NAMES = ("clicks", "searches")
_, SEARCHES = FEEDS = tuple(map(feed_of, NAMES))
KILLS = (2, 3)  # after the claim, and between quarantine and tables; later in a load that is freed


class StoppedByGate(DataError):
    """Rows that the gate of these tests stops."""


class Gate:
    """Stops rows of some feeds."""

    def __init__(self):
        self.stops = set()

    def prepare(self):
        """Nothing takes long here."""

    def audit(self, table, _, *, feed=None):
        if feed in self.stops:
            raise StoppedByGate(f"{table.full_name} is refused")


class Home:
    """Clicks and searches, how often each line landed, and loads that may be killed."""

    def __init__(self, spark, folder):
        self.gate = Gate()
        self.lake = Lake(spark, str(folder / "lake"), gate=self.gate)
        self.landing = folder / "landing"
        self.landed: dict[str, set[str]] = {name: set() for name in NAMES}
        self.refused: dict[str, set[tuple[str, int]]] = {name: set() for name in NAMES}

    def land(self, name, *feeds):
        """A file of each feed with two usable lines and one that is not."""
        for feed in feeds:
            ids = [f"{name} {number}" for number in range(2)]
            lines = [{"id": id_, "ts": "2026-03-01T09:08:07Z", "rank": 1} for id_ in ids]
            land(self.landing / feed / name, *map(json.dumps, lines), '{"id": "odd"}')
            self.landed[feed] |= set(ids)
            self.refused[feed].add((name, 3))

    def load(self, *, killed_at=None, feeds=FEEDS):
        """One load, which is killed before a commit where its number is given."""
        commits = []

        def counted(write):
            def append(table, *args, **options):
                commits.append(table.full_name)
                if len(commits) == killed_at:
                    raise KeyboardInterrupt
                return write(table, *args, **options)

            return append

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.lake, "append_numbered", counted(self.lake.append_numbered))
            try:
                loaded = load.run(self.lake, Intake(folder=str(self.landing), feeds=feeds), now=NOW)
            except KeyboardInterrupt:
                return SimpleNamespace(blocked={}, commits=commits)
        return SimpleNamespace(blocked=loaded.blocked, loaded=loaded, commits=commits)

    def check(self, *feeds):
        """All that landed of these feeds is in bronze or in quarantine, each line once."""
        lines = self.lake.read(bronze.QUARANTINE).select("feed", "file", "line").collect()
        refused = Counter((row.feed, (row.file, row.line)) for row in lines)
        for name in feeds:
            rows = self.lake.read(bronze.table_named(f"bronze.{name}")).select("id").collect()
            assert Counter(row.id for row in rows) == Counter(self.landed[name])
            assert {one: count for (feed, one), count in refused.items() if feed == name} == dict.fromkeys(
                self.refused[name], 1
            )


@pytest.fixture(scope="module")
def home(spark, tmp_path_factory):
    return Home(spark, tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("number", KILLS)
def test_wherever_loads_are_killed_a_blocked_feed_waits_and_loses_nothing(home, number):
    home.gate.stops = {"clicks"}
    home.land(f"first {number}.jsonl", *NAMES)
    home.load(killed_at=number)
    blocked_by(home.load(), StoppedByGate, feed="clicks")
    home.check("searches")

    home.land(f"second {number}.jsonl", *NAMES)
    blocked_by(home.load(), StoppedByGate, feed="clicks")
    home.check("searches")

    home.gate.stops = set()
    home.load(killed_at=number)
    assert home.load().blocked == {}
    home.check(*NAMES)
    assert unfinished(home.lake, last_claim(home.lake)) == []


def test_a_load_that_is_finished_under_stricter_rules_has_what_they_refuse_in_quarantine(home):
    before, strict = feed_of("visits"), feed_of("visits", replace(RANK, minimum=2))
    for name in ("odd", "low", "fine"):
        line = {"id": name, "ts": "2026-03-01T09:08:07Z", "rank": 2 if name == "fine" else 1}
        land(home.landing / "visits" / f"{name}.jsonl", json.dumps(line) if name != "odd" else "{")

    killed = home.load(feeds=(before,), killed_at=3)
    home.load(feeds=(strict,))
    home.load(feeds=(strict,))

    assert killed.commits == ["bronze.files", "bronze.quarantine", "bronze.visits"]
    lines = home.lake.read(bronze.QUARANTINE).where("feed = 'visits'").select("file").collect()
    assert sorted(row.file for row in lines) == ["low.jsonl", "odd.jsonl"]
    assert [row.id for row in home.lake.read(strict.table).select("id").collect()] == ["fine"]


def test_a_feed_that_is_no_longer_declared_is_named_and_the_others_go_on(home):
    home.gate.stops = {"clicks"}
    home.land("undeclared.jsonl", *NAMES)
    home.load()

    home.land("more.jsonl", "searches")
    reason = blocked_by(home.load(feeds=(SEARCHES,)), LandingError, feed="clicks")
    assert "--set-aside clicks/undeclared.jsonl" in str(reason)
    home.check("searches")

    home.gate.stops = set()
    assert home.load().blocked == {}
    home.check(*NAMES)


def test_what_a_layer_left_behind_is_remembered_with_no_commit_where_it_is_the_same(home):
    found = []
    for sources in (["b", "a"], ["a", "b"], []):
        blocked.note_left_behind(home.lake, blocked.SILVER, sources)
        found.append((blocked.left_behind(home.lake, blocked.SILVER), home.lake.version(bronze.FILES)))

    names, versions = zip(*found, strict=True)
    assert names == ({"a", "b"}, {"a", "b"}, set())
    assert (versions[1] - versions[0], versions[2] - versions[1]) == (0, 1)


def test_a_part_of_a_topic_is_read_though_another_of_its_partition_is_in_quarantine(home):
    gone, left = (
        LandedFile(feed="clicks", file="kafka:t/0", sha256=part, bytes=0, delivered_at=NOW, refusal=refusal)
        for part, refusal in (("offsets 0-5 gone", "Kafka removed them"), ("offsets 5-9", None))
    )
    known = Known(listing="", declared="")
    claim(home.lake, [gone, left], batch=(number := last_claim(home.lake).number + 1), now=NOW, known=known)
    batch = read_batch(home.lake, number)
    quarantine(home.lake, batch, [RefusedPart(feed="clicks", files=[gone], validated=None)])

    [*found] = read_batch(home.lake, number).files

    assert sorted((file.sha256, file.refusal) for file in found) == [
        ("offsets 0-5 gone", "Kafka removed them"),
        ("offsets 5-9", None),
    ]
