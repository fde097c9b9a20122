"""A derived source in plain Python: tables of versions, runs that go step by step, and what must hold after each commit.

A run follows `jobs/silver/derive.py`: it pins its inputs, finds the parents that changed or whose look-ups did, commits what
they were first given, and then their rows. Runs may be killed between any two steps, and several may be under way at once.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Rows = dict[Any, Any]


class Conflict(Exception):
    """Another run committed first."""


@dataclass
class Table:
    """A table with all its versions."""

    versions: list[Rows] = field(default_factory=lambda: [{}])

    @property
    def version(self) -> int:
        return len(self.versions) - 1

    @property
    def now(self) -> Rows:
        return self.versions[-1]

    def change(self, changes: Rows, *, started_from: int | None = None) -> None:
        """Commit rows by key, None for one that goes; from a version other than the newest it is a conflict."""
        if started_from is not None and started_from != self.version:
            raise Conflict
        assert all(self.now.get(key) != row for key, row in changes.items()), "a change that is none"
        after = {key: row for key, row in (self.now | changes).items() if row is not None}
        self.versions.append(after)

    def changed(self, since: int, until: int) -> set[Any]:
        """The keys that the change feed names between two versions."""
        pairs = zip(self.versions[since:until], self.versions[since + 1 : until + 1], strict=True)
        return {key for old, new in pairs for key in {*old, *new} if old.get(key) != new.get(key)}


def derive(parent: tuple[int, str], fact: Any) -> list[tuple[str, Any]]:
    """The function: a row for each letter, in the order of their values."""
    _, letters = parent
    return [(letter, fact) for letter in sorted(letters)]


@dataclass
class Derived:
    """One derived source over parents `id: (key, letters)` and facts `key: fact`."""

    follow: bool
    parents: Table = field(default_factory=Table)
    facts: Table = field(default_factory=Table)
    given: Table = field(default_factory=Table)
    rows: Table = field(default_factory=Table)
    states: dict[int, tuple[int, int]] = field(default_factory=dict)  # pins of parents and facts by version of the rows

    def run(self) -> Iterator[None]:
        """One run, a step at a time; raises `Conflict` where another one was faster."""
        start, given_start = self.rows.version, self.given.version
        before, pins = self.states.get(start), (self.parents.version, self.facts.version)
        if before == pins:
            return
        parents, facts = self.parents.versions[pins[0]], self.facts.versions[pins[1]]
        had = self.given.now
        due = {*parents, *had} if before is None else self.due(before, pins)
        given = {id_: self.fact_of(parents[id_], facts, had.get(id_)) for id_ in due if id_ in parents}
        yield
        if not self.follow:
            self.given.change(differing(had, {id_: given.get(id_) for id_ in due}), started_from=given_start)
        yield
        made = {
            (id_, number): row
            for id_, (_, fact) in given.items()
            for number, row in enumerate(derive(parents[id_], fact))
        }
        self.rows.change(differing(self.rows.versions[start], self.replaced(due, made, start)), started_from=start)
        self.states[self.rows.version] = pins
        yield

    def due(self, before: tuple[int, int], pins: tuple[int, int]) -> set[Any]:
        """The parents to derive anew."""
        due = self.parents.changed(before[0], pins[0])
        if self.follow:
            keys = self.facts.changed(before[1], pins[1])
            due |= {id_ for id_, (key, _) in self.parents.versions[pins[0]].items() if key in keys}
        return due

    def fact_of(self, parent: tuple[int, str], facts: Rows, had: tuple[int, Any] | None) -> tuple[int, Any]:
        """The key that a parent names, and the fact that it is given."""
        key, _ = parent
        if not self.follow and had is not None and had[0] == key:
            return had
        return key, facts.get(key)

    def replaced(self, due: set[Any], made: Rows, start: int) -> Rows:
        """What becomes of each row of the parents that are derived anew."""
        return {key: None for key in self.rows.versions[start] if key[0] in due} | made


def differing(had: Rows, rows: Rows) -> Rows:
    """Of rows by key, those that the table does not have like this."""
    return {key: row for key, row in rows.items() if had.get(key) != row}


class History:
    """A random history; every commit is checked."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.source = Derived(follow=self.random.random() < 0.5)
        self.runs: list[Iterator[None]] = []

    def play(self) -> None:
        """Some twenty acts, and at last a run that nothing disturbs."""
        for _ in range(self.random.randrange(8, 24)):
            act = self.random.choice([self.land, self.land, self.tell, self.begin, self.step, self.step, self.kill])
            act()
        self.advance(self.source.run(), whole=True)
        parents, facts = self.source.parents.version, self.source.facts.version
        assert self.source.states.get(self.source.rows.version) == (parents, facts)
        self.check(given=not self.source.follow)

    def land(self) -> None:
        """Parents that are new, told again, corrected, moved to another key, or erased."""
        drawn = {self.random.randrange(4): self.parent() for _ in range(self.random.randrange(1, 4))}
        self.source.parents.change(differing(self.source.parents.now, drawn))

    def parent(self) -> tuple[int, str] | None:
        if self.random.random() < 0.25:
            return None
        return self.random.randrange(3), "".join(self.random.choices("xyz", k=self.random.randrange(4)))

    def tell(self) -> None:
        """A fact that is new, changed or gone."""
        drawn = {self.random.randrange(3): self.random.choice([None, "p", "q", "r"])}
        self.source.facts.change(differing(self.source.facts.now, drawn))

    def begin(self) -> None:
        self.runs.append(self.source.run())
        self.step()

    def step(self) -> None:
        if self.runs:
            self.advance(self.random.choice(self.runs))

    def kill(self) -> None:
        if self.runs:
            self.runs.remove(self.random.choice(self.runs))

    def advance(self, run: Iterator[None], *, whole: bool = False) -> None:
        """Let a run do a step, or all of them."""
        before = self.source.given.now
        try:
            for _ in run:
                if not whole:
                    break
            else:
                self.runs = [one for one in self.runs if one is not run]
        except Conflict:
            self.runs = [one for one in self.runs if one is not run]
        kept = {id_ for id_, (key, _) in before.items() if self.source.given.now.get(id_, (None, None))[0] == key}
        assert all(self.source.given.now[id_] == before[id_] for id_ in kept), "what was first given changed"
        self.check()

    def check(self, *, given: bool = False) -> None:
        """The rows are those of their pinned inputs, derived from scratch; with what was `given` first, after a whole run."""
        pins = self.source.states.get(self.source.rows.version)
        if pins is None:
            return
        parents, facts = self.source.parents.versions[pins[0]], self.source.facts.versions[pins[1]]
        found = self.source.rows.now
        if self.source.follow:
            scratch = {id_: derive(parent, facts.get(parent[0])) for id_, parent in parents.items()}
            assert found == {(id_, n): row for id_, rows in scratch.items() for n, row in enumerate(rows)}
            return
        letters = {id_: sorted(letters) for id_, (_, letters) in parents.items()}
        assert {key: row[0] for key, row in found.items()} == {
            (id_, n): letter for id_, row in letters.items() for n, letter in enumerate(row)
        }
        if given:
            first = self.source.given.now
            assert {id_: key for id_, (key, _) in first.items()} == {id_: key for id_, (key, _) in parents.items()}
            assert all(row[1] == first[key[0]][1] for key, row in found.items()), "another fact than was first given"
