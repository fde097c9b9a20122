"""Words that this project's code and documentation avoid, and how often each still occurs.

`python -m tests.words` prints the counts; it fails where a word occurs more often than its ceiling, as `make check` runs it.
Ten uses of a word are allowed. `CEILINGS` lists the words that are not there yet: an entry may only be lowered,
and goes once its word is at ten. A name counts by its parts, in code as in prose: `told_of` and `ToldOf` use `told`.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
CODE = ("bench", "dags", "features", "jobs", "serving", "sinks", "tailrace")
ALLOWED = 10

# Each word, and the field's own that stands for it. `rows_of` of `Distinct` is a name that users type.
INSTEAD = {
    "tell": "return, report, log",
    "tells": "returns, reports, logs",
    "told": "returned, reported, logged",
    "deed": "effect, handler",
    "deeds": "effects, handlers",
    "held": "materialized",
    "taken": "consumed",
    "wanted": "pending",
    "usable": "fast path",
    "trip": "request timing",
    "finer": "base view",
    "coarser": "rollup",
    "door": "acceptor",
    "crew": "supervisor",
    "board": "shared metrics",
    "cells": "slots",
    "alone": "exclusive",
    "judge": "validate",
    "judged": "validated",
    "mend": "repair",
    "mended": "repaired",
    "mends": "repairs",
    "sweep": "purge",
    "swept": "purged",
    "set aside": "exclude",  # in prose; `--set-aside` and the table `bronze.set_aside` are names that users type
    "slot": "tick",
    "is no": "is not a",  # "there is no" and "is no longer" are English
    "goes about": "a plain verb",
    "so that": "two sentences",
    "beside": "next to, with",
}

CEILINGS: dict[str, int] = {}


def counts() -> Counter[str]:
    """How often each word of `INSTEAD` occurs in the code and the documentation."""
    found: Counter[str] = Counter()
    for path in sources():
        text = path.read_text(encoding="utf-8")
        parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()
        words = Counter(re.findall(r"[a-z]+", parts))
        found.update({word: words[word] for word in INSTEAD if word.isalpha()})
        prose = " ".join(parts.split())
        found.update(
            {
                word: len(re.findall(rf"(?<!there )\b{word}\b(?! longer| more)", prose))
                for word in INSTEAD
                if not word.isalpha()
            }
        )
    return found


def sources() -> Iterator[Path]:
    for folder in CODE:
        yield from sorted((CHECKOUT / folder).rglob("*.py"))
    yield from sorted((CHECKOUT / "docs").rglob("*.md"))
    yield CHECKOUT / "README.md"


def too_frequent() -> list[str]:
    """One line for each word above its ceiling."""
    found = counts()
    return [
        f"{word!r} occurs {found[word]} times, {CEILINGS.get(word, ALLOWED)} at most: write {instead}"
        for word, instead in INSTEAD.items()
        if found[word] > CEILINGS.get(word, ALLOWED)
    ]


if __name__ == "__main__":
    for frequent, count in counts().most_common():
        print(f"{frequent:12} {count:4} of {CEILINGS.get(frequent, ALLOWED)}")  # noqa: T201 - a report for the terminal
    sys.exit("\n".join(too_frequent()) or 0)
