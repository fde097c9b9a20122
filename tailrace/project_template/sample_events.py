"""Write sample searches of the last week: `python sample_events.py`. The same seed and end give the same events."""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "landing" / "searches"
QUERIES = ("red shoes", "blue shoes", "rain coat", "tent", "sleeping bag", "head lamp", "map of norway", "wool socks")
PRODUCTS = range(1001, 1041)
USERS = 50
SPAN = timedelta(days=7)


def searches(*, count: int, seed: int, end: datetime) -> Iterator[dict[str, Any]]:
    """Searches in the order of their times, the last at `end`; the first words of QUERIES are searched for most."""
    draw = random.Random(seed)
    batch = f"{int(end.timestamp())}-{seed}"
    ages = sorted((SPAN * draw.random() ** 2 for _ in range(count - 1)), reverse=True)
    for number, age in enumerate((*ages, timedelta())):
        clicked = draw.random() < 0.3
        yield {
            "search_id": f"s{batch}-{number}",
            "ts": int((end - age).timestamp() * 1000),
            "request": {"q": QUERIES[int(len(QUERIES) * draw.random() ** 2)]},
            "user_id": f"u{draw.randrange(USERS):02}",
            "product_id": draw.choice(PRODUCTS),
            "rank": draw.randint(1, 20),
            "clicked": clicked,
            "dwell_seconds": round(draw.expovariate(1 / 30), 1) if clicked else 0.0,
        }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--searches", type=int, default=2000, help="how many")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--end", type=datetime.fromisoformat, default=datetime.now(UTC), help="with its zone; now")
    given = options.parse_args()
    lines = [json.dumps(one) + "\n" for one in searches(count=given.searches, seed=given.seed, end=given.end)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"sample-{given.end:%Y%m%dT%H%M%S}-{given.seed}.jsonl"
    whole = file.with_name(f".{file.name}")  # a load takes no file whose name begins with a dot
    whole.write_text("".join(lines))
    whole.rename(file)
    sys.stdout.write(f"{len(lines):,} searches up to {given.end:%Y-%m-%d %H:%M} in {file}\n")


if __name__ == "__main__":
    main()
