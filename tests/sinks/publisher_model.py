"""Random histories of pushes over a gold table and a store in memory, run by the steps of `sinks.protocol`.

Pushes and repairs die between any two steps, wake up when others have taken over, and their writes arrive late, in any
order and more than once. The store is lost, or only its control item or the history is; items are damaged and repaired;
tombstones are swept; another lane writes to the same items. In the end the store must hold what gold holds.
"""

import copy
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

from sinks import protocol
from sinks.protocol import REMOVE, SUPPRESS, Step, decide, fold
from tailrace.store.control import Control
from tests.sinks.model_gold import KEYS, VALUES, Gold

Decisions = list[tuple[str, bytes | None]]


@dataclass
class Outcome:
    """What became of writes."""

    stale: int = 0


Write = tuple[int, str, bytes | None]  # sequence, key, value


class LeaseLost(Exception):
    """Another push took over."""


class TargetGone(Exception):
    """The version that was to be pushed is not there any more."""


@dataclass
class Broken:
    """Which guard is planted broken."""

    unguarded: bool = False
    hard_delete: bool = False
    cursor_first: bool = False
    suppress_after_failure: bool = False
    suppress_in_snapshot: bool = False
    item_expiry: bool = False
    undeclared: bool = False
    unrecorded: bool = False
    history_unwatched: bool = False


class Running:
    """A push or a repair that can be stopped between any two steps, and between any two writes."""

    def __init__(self, world: "World", asked: Generator[Step, Any, Any]) -> None:
        self.world = world
        self.asked = asked
        self.step = next(asked)
        self.to_write: Decisions | None = None
        self.outcome = Outcome()
        self.result: Any = None
        self.owner = ""

    def advance(self, moves: int = 10**6) -> bool:
        """Make so many moves; True where it came to its end."""
        for _ in range(moves):
            try:
                if isinstance(self.step, protocol.Write):
                    if not self.write_one(self.step):
                        continue
                    answer = self.outcome
                else:
                    self.world.acting = self.owner
                    answer = DEEDS[type(self.step)](self.world, self.step)
                    if isinstance(self.step, protocol.TakeLease):
                        self.owner = answer.lease_owner
                self.step = self.asked.send(answer)
            except (LeaseLost, TargetGone, protocol.PushFirst, protocol.StoreAhead):
                return True
            except StopIteration as end:
                self.result = end.value
                return True
        return False

    def write_one(self, step: protocol.Write) -> bool:
        """Write one row more; True when all are acknowledged. A request sent twice may arrive again, or first later."""
        world = self.world
        if self.to_write is None:
            self.to_write = list(step.changes)
            world.random.shuffle(self.to_write)
            if world.broken.cursor_first:
                world.acting = self.owner
                world.close(protocol.Close(step.sequence, world.gold.cursor()))
        if not self.to_write:
            return True
        write = (step.sequence, *self.to_write.pop())
        if world.random.random() < 0.2:
            world.in_flight.append(write)
        self.outcome.stale += not world.store(*write)
        return False


class World:
    """Gold, store, history, and the pushes that are neither done nor dead."""

    def __init__(self, seed: int, broken: Broken | None = None) -> None:
        self.random = random.Random(seed)
        self.broken = broken or Broken()
        self.gold = Gold(self.random)
        self.items: dict[str, tuple[bytes | None, int]] = {}  # key: value, or None for a tombstone, and its sequence
        self.other_lane: dict[str, bytes] = {}  # what another lane wrote to the same items
        self.written_by_other: dict[str, bytes] = {}
        self.control: Control | None = None
        self.clock = 1_000
        self.leases = 0
        self.acting = ""  # whose step is being done
        self.history: list[tuple[tuple[int, str], frozenset[str]]] = []  # sequence and owner, keys
        self.confirmed: set[tuple[int, str]] = set()
        self.in_flight: list[Write] = []
        self.running: list[Running] = []
        self.copy: Any = None

    # What the steps do.

    def take_lease(self, _: protocol.TakeLease) -> Control:
        found = self.control or self.new_control()
        self.leases += 1
        self.acting = f"lease {self.leases}"
        self.control = replace(found, sequence=found.sequence + 1, lease_owner=self.acting)
        if found.cursor is None and max(self.recorded(), default=0) >= self.control.sequence:
            self.raise_sequence(protocol.RaiseSequence(self.control.sequence))
            raise protocol.StoreAhead
        return self.control

    def new_control(self) -> Control:
        """Sequences begin at the clock, and where that was set back, after those of the history."""
        self.clock += 1
        return Control(sequence=max([self.clock * 1_000, *self.recorded()]))

    def recorded(self) -> list[int]:
        return [sequence for (sequence, _), _ in self.history]

    def check_feed(self, step: protocol.CheckFeed) -> str | None:
        self.check_target(step.until)
        return "lost" if self.gold.feed_is_lost(step.since, step.until) else None

    def look_for_record(self, step: protocol.LookForRecord) -> bool:
        return self.broken.history_unwatched or (step.sequence, step.push) in dict(self.history)

    def read_open_keys(self, step: protocol.ReadOpenKeys) -> set[str] | None:
        after = step.after
        open_ones = [
            keys for push, keys in self.history if (push not in self.confirmed if after is None else push[0] > after)
        ]
        return set().union(*open_ones) or None

    def find_changes(self, step: protocol.FindChanges) -> tuple[Decisions, int]:
        plan, target = step.plan, step.until
        self.check_target(target)
        now: dict[str, bytes | None] = {**self.gold.rows(target.version)}
        suppress = plan.suppress
        if plan.how == protocol.CHANGES:
            assert step.since is not None
            suppress = suppress or self.broken.suppress_after_failure
            images = self.gold.images(step.since.version, target.version)
            folded = {key: fold(of_key) for key, of_key in images.items()}
            keys = set(folded)
            was = {key: first for key, (first, _) in folded.items()}
            now |= {key: last for key, (_, last) in folded.items()}
        else:
            suppress = suppress or (self.broken.suppress_in_snapshot and plan.how == protocol.SNAPSHOT)
            was = {key: value for key, (value, _) in self.items.items()}
            keys = {*now, *(key for key, value in was.items() if value is not None)}
        keys |= plan.open_keys or set()
        decisions = [(key, now.get(key), decide(was.get(key), now.get(key), suppress=suppress)) for key in sorted(keys)]
        writes = [(key, None if action == REMOVE else value) for key, value, action in decisions if action != SUPPRESS]
        return writes, len(writes)

    def find_repairs(self, step: protocol.FindRepairs) -> Decisions:
        self.check_target(step.at)
        rows = self.gold.rows(step.at.version)
        return [(key, rows.get(key)) for key in step.keys]

    def record(self, step: protocol.Record) -> None:
        if not self.broken.unrecorded:
            self.history.append(((step.sequence, self.acting), frozenset(key for key, _ in step.changes)))

    def declare(self, step: protocol.Declare) -> None:
        if self.broken.undeclared and not self.holds(step.sequence):
            return
        held = self.held(step.sequence)
        self.control = replace(held, open=True)
        if step.known:
            self.control = replace(self.control, declared=step.sequence, declared_by=self.acting)

    def confirm(self, step: protocol.Confirm) -> None:
        self.confirmed.add((step.sequence, self.acting))

    def close(self, step: protocol.Close) -> None:
        self.control = replace(self.held(step.sequence), open=False, cursor=step.cursor, closed=step.sequence)

    def check_target(self, target: Any) -> None:
        """Gold may have been put back since the target was read; a version that is gone stops the push."""
        if not self.gold.has(target):
            raise TargetGone

    def holds(self, sequence: int) -> bool:
        found = self.control
        return found is not None and (found.sequence, found.lease_owner) == (sequence, self.acting)

    def held(self, sequence: int) -> Control:
        if self.control is None or not self.holds(sequence):
            raise LeaseLost
        return self.control

    def store(self, sequence: int, key: str, value: bytes | None) -> bool:
        """Write unless the store has a higher sequence; whether it did."""
        if not self.broken.unguarded and self.items.get(key, (None, 0))[1] > sequence:
            return False
        if value is None and self.broken.hard_delete:
            self.items.pop(key, None)
        else:
            self.items[key] = (value, sequence)
        return True

    def raise_sequence(self, step: protocol.RaiseSequence) -> None:
        held = self.held(step.sequence)
        seen = [*(one for _, one in self.items.values()), *self.recorded()]
        self.control = replace(held, sequence=max([step.sequence, *seen]))

    # What happens.

    def run(self) -> bool:
        for _ in range(self.random.randint(4, 16)):
            self.random.choice(EVENTS)(self)
        for _ in range(4):  # one to find that the store is ahead, one to mend that, and again after late writes
            self.push_through()
            self.wake_all()
        return self.agrees()

    def agrees(self) -> bool:
        stored = {key: value for key, (value, _) in self.items.items() if value is not None}
        return stored == self.gold.rows() and self.other_lane == self.written_by_other

    def start(self, asked: Generator[Step, Any, Any]) -> None:
        one = Running(self, asked)
        if not one.advance(self.random.randint(0, 14)):
            self.running.append(one)

    def start_push(self) -> None:
        self.start(protocol.push())

    def start_repair(self) -> None:
        self.start(protocol.repair(self.random.sample(KEYS, 2)))

    def push_through(self) -> None:
        Running(self, protocol.push()).advance()

    def damage_and_repair(self) -> None:
        """Something else than a push changes or removes a value, and the repair of a reconciliation mends it."""
        key = self.random.choice(KEYS)
        repaired = Running(self, protocol.repair([key]))
        self.push_through()
        if key in self.items:
            self.items[key] = (self.random.choice([None, b"other"]), self.items[key][1])
        repaired.advance()
        if repaired.result is None:  # the store was ahead
            self.push_through()
            self.damage_and_repair()

    def wake_one(self) -> None:
        if self.running:
            one = self.random.choice(self.running)
            if one.advance(self.random.randint(1, 8)):
                self.running.remove(one)

    def wake_all(self) -> None:
        """Those that are still alive go on to their end, and all that was under way arrives."""
        for one in self.running:
            one.advance()
        self.running.clear()
        self.random.shuffle(self.in_flight)
        for write in self.in_flight:
            self.store(*write)
        self.in_flight.clear()

    def kill_one(self) -> None:
        """A process ends; what it had sent may still arrive."""
        if self.running:
            self.running.remove(self.random.choice(self.running))

    def deliver(self) -> None:
        if self.in_flight:
            self.store(*self.in_flight.pop(self.random.randrange(len(self.in_flight))))

    def write_by_other_lane(self) -> None:
        key = self.random.choice(KEYS)
        self.other_lane[key] = self.written_by_other[key] = self.random.choice(VALUES)

    def lose_store(self) -> None:
        """Requests to the lost store are lost with it; processes are not."""
        self.items, self.other_lane, self.written_by_other = {}, {}, {}
        self.control = None
        self.in_flight.clear()

    def lose_control_item(self) -> None:
        """With the clock that its sequences began at set back, or not."""
        self.control = None
        self.clock -= self.random.choice([0, 0, 3])

    def put_store_back(self) -> None:
        """From a copy, when nothing runs; what was under way is older than a day."""
        self.running.clear()
        self.in_flight.clear()
        if self.copy is not None:
            self.items, self.control, self.other_lane, self.written_by_other = copy.deepcopy(self.copy)

    def copy_store(self) -> None:
        self.copy = copy.deepcopy((self.items, self.control, self.other_lane, self.written_by_other))

    def push_by_older_code(self) -> None:
        """It sets the mark with the lease, records and declares nothing, and dies or is there no more in the end."""
        found = self.control or self.new_control()
        self.control = replace(found, sequence=found.sequence + 1, open=True)
        for key, value in self.gold.rows().items():
            if self.random.random() < 0.5:
                self.store(self.control.sequence, key, value)

    def put_lake_back(self) -> None:
        """From a copy, when nothing runs: what dead pushes left in the store stays there, their records are undone."""
        Running(self, protocol.push()).advance(self.random.randint(0, 14))
        self.running.clear()
        self.in_flight.clear()
        self.gold.put_back()
        self.history = self.history[: self.random.randint(0, len(self.history))]
        self.confirmed &= {push for push, _ in self.history}

    def sweep(self) -> None:
        """A day later no process and no request of before is left, and tombstones are removed."""
        self.running.clear()
        self.in_flight.clear()
        for key in [key for key, (value, _) in self.items.items() if value is None]:
            del self.items[key]
            if self.broken.item_expiry:
                self.other_lane.pop(key, None)


DEEDS: dict[type, Callable[[World, Any], Any]] = {
    protocol.TakeLease: World.take_lease,
    protocol.ReadTarget: lambda world, _: world.gold.cursor(),
    protocol.CheckFeed: World.check_feed,
    protocol.LookForValues: lambda world, _: bool(world.items),
    protocol.LookForRecord: World.look_for_record,
    protocol.ReadOpenKeys: World.read_open_keys,
    protocol.FindChanges: World.find_changes,
    protocol.FindRepairs: World.find_repairs,
    protocol.Record: World.record,
    protocol.Declare: World.declare,
    protocol.RaiseSequence: World.raise_sequence,
    protocol.Confirm: World.confirm,
    protocol.Close: World.close,
}

EVENTS: tuple[Callable[[World], None], ...] = (
    *[lambda world: world.gold.change()] * 6,
    *[World.start_push] * 8,
    *[World.push_through] * 2,
    *[World.wake_one] * 4,
    *[World.deliver] * 3,
    World.start_repair,
    World.damage_and_repair,
    World.kill_one,
    *[World.write_by_other_lane] * 2,
    lambda world: world.gold.restore(),
    lambda world: world.gold.recreate(),
    lambda world: world.gold.put_back(),
    lambda world: world.gold.redefine(),
    World.lose_store,
    World.lose_control_item,
    World.copy_store,
    World.put_store_back,
    World.push_by_older_code,
    *[World.put_lake_back] * 3,
    *[World.sweep] * 2,
)
