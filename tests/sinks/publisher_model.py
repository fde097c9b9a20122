"""Random histories of pushes over a gold table and a store in memory, run by the steps of `sinks.protocol`.

Gold changes, is restored, re-created, put back from a copy, or gets other features. Pushes die between any two steps,
wake up when others have taken over, and their writes arrive late, in any order and more than once. The store is lost, or
only its control item is; tombstones are swept; another lane writes to the same items. In the end the store must hold
what gold holds.
"""

import random
from dataclasses import dataclass, field, replace

from online.codec import HEADER
from online.control import Control, Cursor
from sinks import protocol
from sinks.protocol import REMOVE, SUPPRESS, decide, fold

KEYS = "abcd"
VALUES = (b"1", b"2")
FINGERPRINTS = ("0" * 15 + "1", "0" * 15 + "2")


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


NOTHING_BROKEN = Broken()


@dataclass
class Version:
    commit: int
    content: dict
    touched: frozenset


@dataclass
class Gold:
    """A table's commits; a commit's id is never used again."""

    table: int = 0
    fingerprint: str = FINGERPRINTS[0]
    log: list = field(default_factory=lambda: [Version(0, {}, frozenset())])
    kept_from: int = 0
    commits: int = 0

    def cursor(self):
        return Cursor(
            table_id=self.table, version=len(self.log) - 1, fingerprint=self.fingerprint, commit=self.log[-1].commit
        )

    def commit(self, content, touched):
        self.commits += 1
        self.log.append(Version(self.commits, content, touched))

    def has(self, cursor):
        if cursor.table_id != self.table or cursor.fingerprint != self.fingerprint:
            return False
        return cursor.version < len(self.log) and self.log[cursor.version].commit == cursor.commit

    def feed_is_lost(self, since, until):
        """Told by ids and numbers alone, as `lake.history` does."""
        if since.table_id != until.table_id or not self.kept_from <= since.version <= until.version:
            return True
        return self.log[since.version].commit != since.commit

    def packed(self, version, key):
        value = self.log[version].content.get(key)
        return None if value is None else pack(value, self.fingerprint)


def pack(value, fingerprint):
    return b"TR......" + fingerprint[-8:].encode() + b"asof...." + value


assert HEADER.itemsize == len(pack(b"", FINGERPRINTS[0]))


class World:
    """Gold, store, history, and the pushes that are neither done nor dead."""

    def __init__(self, seed, broken=NOTHING_BROKEN):
        self.random = random.Random(seed)
        self.broken = broken
        self.gold = Gold()
        self.items = {}  # key: (value, or None for a tombstone, and its sequence)
        self.other_lane = {}  # what another lane wrote to the same items
        self.written_by_other = {}
        self.control = None
        self.clock = 0
        self.recorded = []  # (sequence, keys)
        self.confirmed = set()
        self.in_flight = []  # (sequence, key, value)
        self.pushes = []
        self.life = 0  # of the store

    # What the steps do.

    def do(self, step):
        return DEEDS[type(step)](self, step)

    def take_lease(self, _):
        self.clock += 1
        found = self.control or Control(sequence=self.clock * 1000)
        found = replace(found, sequence=found.sequence + 1)
        self.control = replace(found, open=True)
        return found

    def read_target(self, _):
        return self.gold.cursor()

    def check_feed(self, step):
        self.check_target(step.until)
        return "lost" if self.gold.feed_is_lost(step.since, step.until) else None

    def look_for_values(self, _):
        return bool(self.items)

    def read_open_keys(self, step):
        if step.after is None:
            return {key for sequence, keys in self.recorded if sequence not in self.confirmed for key in keys}
        return {key for sequence, keys in self.recorded if sequence > step.after for key in keys}

    def find_changes(self, step):
        plan, target = step.plan, step.until
        self.check_target(target)
        now = {key: pack(value, target.fingerprint) for key, value in self.gold.log[target.version].content.items()}
        suppress = plan.suppress
        if plan.how == protocol.CHANGES:
            suppress = suppress or self.broken.suppress_after_failure
            folded = {key: fold(images) for key, images in self.images(step.since.version, target.version).items()}
            keys = set(folded)
            was = {key: first for key, (first, _) in folded.items()}
            now |= {key: last for key, (_, last) in folded.items()}
        else:
            suppress = suppress or (self.broken.suppress_in_snapshot and plan.how == protocol.SNAPSHOT)
            keys = {*now, *(key for key, (value, _) in self.items.items() if value is not None)}
            was = {key: value for key, (value, _) in self.items.items()}
        keys |= plan.open_keys or set()
        decisions = [(key, now.get(key), decide(was.get(key), now.get(key), suppress=suppress)) for key in keys]
        decisions.sort()
        return [(key, None if action == REMOVE else value) for key, value, action in decisions if action != SUPPRESS]

    def images(self, since, until):
        """The change feed per key, in any order: (version, whether it is the image before, packed value)."""
        feed = {}
        for version in range(since + 1, until + 1):
            for key in self.gold.log[version].touched:
                before, after = self.gold.packed(version - 1, key), self.gold.packed(version, key)
                images = feed.setdefault(key, [])
                images += [(version, True, before)] if before is not None else []
                images += [(version, False, after)] if after is not None else []
        for images in feed.values():
            self.random.shuffle(images)
        return {key: images for key, images in feed.items() if images}

    def record(self, step):
        if not self.broken.unrecorded:
            self.recorded.append((step.sequence, frozenset(key for key, _ in step.changes)))

    def declare(self, step):
        if not self.broken.undeclared:
            self.check_lease(step.sequence)

    def confirm(self, step):
        self.confirmed.add(step.sequence)

    def close(self, step):
        self.check_lease(step.sequence)
        self.control = replace(self.control, open=False, cursor=step.cursor, closed=step.sequence)

    def check_target(self, target):
        """Gold may have been put back since the target was read; a version that is gone stops the push."""
        if not self.gold.has(target):
            raise TargetGone

    def check_lease(self, sequence):
        if self.control is None or self.control.sequence != sequence:
            raise LeaseLost

    def store(self, sequence, key, value):
        if not self.broken.unguarded and self.items.get(key, (None, 0))[1] > sequence:
            return
        if value is None and self.broken.hard_delete:
            self.items.pop(key, None)
        else:
            self.items[key] = (value, sequence)

    # What happens.

    def run(self):
        for _ in range(self.random.randint(4, 16)):
            self.random.choice(EVENTS)(self)
        for _ in range(2):
            self.push_through()
            self.wake_all()
        self.push_through()
        self.wake_all()
        return self.agrees()

    def agrees(self):
        gold = {key: pack(value, self.gold.fingerprint) for key, value in self.gold.log[-1].content.items()}
        stored = {key: value for key, (value, _) in self.items.items() if value is not None}
        return stored == gold and self.other_lane == self.written_by_other

    def change_gold(self):
        content = dict(self.gold.log[-1].content)
        touched = set()
        for _ in range(self.random.randint(1, 2)):
            key = self.random.choice(KEYS)
            touched.add(key)
            content.pop(key, None)
            if self.random.random() < 0.65:
                content[key] = self.random.choice(VALUES)
        self.gold.commit(content, frozenset(touched))

    def restore_gold(self):
        """RESTORE and overwrite: a new version of other content, every key touched, its feed not to be read."""
        old = self.random.choice(self.gold.log).content
        self.gold.commit(dict(old), frozenset(KEYS))
        if self.random.random() < 0.5:
            self.gold.kept_from = len(self.gold.log) - 1

    def recreate_gold(self):
        self.gold.table += 1
        self.gold.log = []
        self.gold.kept_from = 0
        content = {key: self.random.choice(VALUES) for key in KEYS if self.random.random() < 0.5}
        self.gold.commit(content, frozenset(content))

    def put_gold_back(self):
        """From a copy: later commits are undone, and their numbers will be taken by others."""
        self.gold.log = self.gold.log[: self.random.randint(1, len(self.gold.log))]
        self.gold.kept_from = min(self.gold.kept_from, len(self.gold.log) - 1)

    def redefine(self):
        self.gold.fingerprint = self.random.choice(FINGERPRINTS)

    def start_push(self):
        push = Running(self)
        if not push.advance(self.random.randint(0, 14)):
            self.pushes.append(push)

    def push_through(self):
        Running(self).advance(10**6)

    def wake_one(self):
        if self.pushes:
            push = self.random.choice(self.pushes)
            if push.advance(self.random.randint(1, 8)):
                self.pushes.remove(push)

    def wake_all(self):
        """Those that are still alive go on to their end, and all that was under way arrives."""
        for push in self.pushes:
            push.advance(10**6)
        self.pushes.clear()
        self.random.shuffle(self.in_flight)
        for write in self.in_flight:
            self.store(*write)
        self.in_flight.clear()

    def kill_one(self):
        """A process ends; what it had sent may still arrive."""
        if self.pushes:
            self.pushes.remove(self.random.choice(self.pushes))

    def deliver(self):
        if self.in_flight:
            self.store(*self.in_flight.pop(self.random.randrange(len(self.in_flight))))

    def write_by_other_lane(self):
        key = self.random.choice(KEYS)
        self.other_lane[key] = self.written_by_other[key] = self.random.choice(VALUES)

    def lose_store(self):
        """Requests to the lost store are lost with it; processes are not."""
        self.items, self.other_lane, self.written_by_other = {}, {}, {}
        self.control = None
        self.in_flight.clear()

    def lose_control_item(self):
        self.control = None

    def sweep(self):
        """A day later no process and no request of before is left, and tombstones are removed."""
        self.pushes.clear()
        self.in_flight.clear()
        for key in [key for key, (value, _) in self.items.items() if value is None]:
            del self.items[key]
            if self.broken.item_expiry:
                self.other_lane.pop(key, None)


DEEDS = {
    protocol.TakeLease: World.take_lease,
    protocol.ReadTarget: World.read_target,
    protocol.CheckFeed: World.check_feed,
    protocol.LookForValues: World.look_for_values,
    protocol.ReadOpenKeys: World.read_open_keys,
    protocol.FindChanges: World.find_changes,
    protocol.Record: World.record,
    protocol.Declare: World.declare,
    protocol.Confirm: World.confirm,
    protocol.Close: World.close,
}

EVENTS = (
    *[World.change_gold] * 6,
    *[World.start_push] * 8,
    *[World.push_through] * 2,
    *[World.wake_one] * 4,
    *[World.deliver] * 3,
    World.kill_one,
    *[World.write_by_other_lane] * 2,
    World.restore_gold,
    World.recreate_gold,
    World.put_gold_back,
    World.redefine,
    World.lose_store,
    World.lose_control_item,
    *[World.sweep] * 2,
)


class Running:
    """A push that can be stopped between any two steps, and between any two writes."""

    def __init__(self, world):
        self.world = world
        self.steps = protocol.push()
        self.step = next(self.steps)
        self.to_write = None

    def advance(self, moves):
        """Make so many moves; True where the push came to its end."""
        world = self.world
        for _ in range(moves):
            try:
                if isinstance(self.step, protocol.Write) and not self.write_one():
                    continue
                answer = world.do(self.step) if not isinstance(self.step, protocol.Write) else self.step.changes
                self.step = self.steps.send(answer)
            except (LeaseLost, TargetGone, StopIteration):
                return True
        return False

    def write_one(self):
        """Write one row more; True when all are acknowledged. A request sent twice may arrive again, or first later."""
        world, step = self.world, self.step
        if self.to_write is None:
            self.to_write = list(step.changes)
            world.random.shuffle(self.to_write)
            if world.broken.cursor_first:
                self.close_early()
        if not self.to_write:
            return True
        write = (step.sequence, *self.to_write.pop())
        if world.random.random() < 0.2:
            world.in_flight.append(write)
        world.store(*write)
        return False

    def close_early(self):
        cursor = self.world.gold.cursor()
        self.world.close(protocol.Close(self.step.sequence, cursor))
