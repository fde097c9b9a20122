"""Write sample products, and searches of the last week: `python sample_events.py`. Seed and end decide what they are."""

import argparse
import json
import random
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

LANDING = Path(__file__).parent / "landing"
QUERIES = ("red shoes", "blue shoes", "rain coat", "tent", "sleeping bag", "head lamp", "map of norway", "wool socks")
CATEGORIES = ("shoes", "clothes", "camping", "maps")
FIRST_PRODUCT, PRODUCTS, USERS = 1001, 40, 50
SPAN = timedelta(days=7)

Lines = Iterable[dict[str, Any]]


def products(*, seed: int, end: datetime) -> Iterator[dict[str, Any]]:
    """Every product, each with a day on which it was released."""
    draw = random.Random(f"products {seed}")
    for number in range(FIRST_PRODUCT, FIRST_PRODUCT + PRODUCTS):
        category = draw.choice(CATEGORIES)
        yield {
            "product_id": number,
            "title": f"{category} no. {number}",
            "category": category,
            "price": round(draw.uniform(5, 200), 2),
            "released": f"{end - timedelta(days=draw.randint(1, 900)):%Y-%m-%d}",
            "updated_at": (end - SPAN).isoformat(timespec="seconds"),
        }


def searches(*, count: int, seed: int, end: datetime) -> Iterator[dict[str, Any]]:
    """Results that were shown, in the order of their times, the last at `end`."""
    draw = random.Random(f"searches {seed}")
    batch = f"{int(end.timestamp())}-{seed}"
    ages = sorted((SPAN * draw.random() ** 2 for _ in range(count - 1)), reverse=True)
    for number, age in enumerate((*ages, timedelta())):
        rank = draw.randint(1, 20)
        clicked = draw.random() < 1 / (rank + 1)
        yield {
            "search_id": f"s{batch}-{number}",
            "ts": int((end - age).timestamp() * 1000),
            "request": {
                "q": QUERIES[int(len(QUERIES) * draw.random() ** 2)],
                "user id": f"u{draw.randrange(USERS):02}",
            },
            "product_id": FIRST_PRODUCT + int(PRODUCTS * draw.random() ** 2),
            "rank": rank,
            "clicked": clicked,
            "dwell_seconds": round(draw.expovariate(1 / 30), 1) if clicked else 0.0,
        }


def land(source: str, name: str, rows: Lines) -> None:
    """Write a file whole, or not at all: a load takes none whose name begins with a dot."""
    folder = LANDING / source
    folder.mkdir(parents=True, exist_ok=True)
    hidden = folder / f".{name}.jsonl"
    hidden.write_text("".join(json.dumps(row) + "\n" for row in rows))
    hidden.rename(folder / f"{name}.jsonl")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--searches", type=int, default=2000, help="how many")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--end", type=datetime.fromisoformat, default=datetime.now(UTC), help="with its zone; now")
    given = options.parse_args()
    name = f"sample-{given.end:%Y%m%dT%H%M%S}-{given.seed}"
    land("products", name, products(seed=given.seed, end=given.end))
    land("searches", name, searches(count=given.searches, seed=given.seed, end=given.end))
    sys.stdout.write(f"{PRODUCTS} products and {given.searches:,} searches are below {LANDING}\n")


if __name__ == "__main__":
    main()
