"""A gold table in memory: commits with ids, a change feed that can be lost, and what happens to tables in production."""

import random
from dataclasses import dataclass, field

from sinks.protocol import Image
from tailrace.store.codec import HEADER
from tailrace.store.control import Cursor

KEYS = "abcd"
VALUES = (b"1", b"2")
FINGERPRINTS = ("0" * 15 + "1", "0" * 15 + "2")


@dataclass
class Version:
    commit: int
    content: dict[str, bytes]
    touched: frozenset[str]


@dataclass
class Gold:
    """A table's commits; a commit's id is never used again."""

    random: random.Random
    table: int = 0
    fingerprint: str = FINGERPRINTS[0]
    log: list[Version] = field(default_factory=lambda: [Version(0, {}, frozenset())])
    kept_from: int = 0
    commits: int = 0

    def cursor(self) -> Cursor:
        return Cursor(
            table_id=str(self.table),
            version=len(self.log) - 1,
            fingerprint=self.fingerprint,
            commit=str(self.log[-1].commit),
        )

    def has(self, cursor: Cursor) -> bool:
        if (cursor.table_id, cursor.fingerprint) != (str(self.table), self.fingerprint):
            return False
        return cursor.version < len(self.log) and str(self.log[cursor.version].commit) == cursor.commit

    def feed_is_lost(self, since: Cursor, until: Cursor) -> bool:
        """Told by ids and numbers alone, as `tailrace.lake.delta_log` does."""
        if since.table_id != until.table_id or not self.kept_from <= since.version <= until.version:
            return True
        return str(self.log[since.version].commit) != since.commit

    def packed(self, version: int, key: str) -> bytes | None:
        value = self.log[version].content.get(key)
        return None if value is None else pack(value, self.fingerprint)

    def rows(self, version: int = -1) -> dict[str, bytes]:
        return {key: pack(value, self.fingerprint) for key, value in self.log[version].content.items()}

    def images(self, since: int, until: int) -> dict[str, list[Image]]:
        """The change feed per key, in any order."""
        feed: dict[str, list[Image]] = {}
        for version in range(since + 1, until + 1):
            for key in self.log[version].touched:
                before, after = self.packed(version - 1, key), self.packed(version, key)
                images = feed.setdefault(key, [])
                images += [(version, True, before)] if before is not None else []
                images += [(version, False, after)] if after is not None else []
        for images in feed.values():
            self.random.shuffle(images)
        return {key: images for key, images in feed.items() if images}

    def commit(self, content: dict[str, bytes], touched: frozenset[str]) -> None:
        self.commits += 1
        self.log.append(Version(self.commits, content, touched))

    def change(self) -> None:
        content = dict(self.log[-1].content)
        touched = set()
        for _ in range(self.random.randint(1, 2)):
            key = self.random.choice(KEYS)
            touched.add(key)
            content.pop(key, None)
            if self.random.random() < 0.65:
                content[key] = self.random.choice(VALUES)
        self.commit(content, frozenset(touched))

    def restore(self) -> None:
        """RESTORE and overwrite: a new version of other content, every key touched, its feed not always to be read."""
        old = self.random.choice(self.log).content
        self.commit(dict(old), frozenset(KEYS))
        if self.random.random() < 0.5:
            self.kept_from = len(self.log) - 1

    def recreate(self) -> None:
        self.table += 1
        self.log = []
        self.kept_from = 0
        content = {key: self.random.choice(VALUES) for key in KEYS if self.random.random() < 0.5}
        self.commit(content, frozenset(content))

    def put_back(self) -> None:
        """From a copy: later commits are undone, and their numbers will be taken by others."""
        self.log = self.log[: self.random.randint(1, len(self.log))]
        self.kept_from = min(self.kept_from, len(self.log) - 1)

    def redefine(self) -> None:
        self.fingerprint = self.random.choice(FINGERPRINTS)


def pack(value: bytes, fingerprint: str) -> bytes:
    return b"TR......" + fingerprint[-8:].encode() + b"asof...." + value


assert HEADER.itemsize == len(pack(b"", FINGERPRINTS[0]))
