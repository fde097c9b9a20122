"""Entities of a project's own, numbers and dates among them: the whole way from landing files to the ranker."""

import json
import textwrap
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from serving.client import Client, ReaderError
from tailrace.demo.ranking import ask, reader
from tailrace.errors import CommandError
from tailrace.schemas.slots import GRID
from tailrace.settings import Settings
from tailrace.workspace.workspace import Workspace
from tests.tailrace.lake.copies import home_with

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)
AGREED = {"missing": 0, "ghost": 0, "different": 0}
SHOP = """
from datetime import timedelta
from tailrace import (
    DATE, FLOAT64, INT64, STRING, Count, Distinct, Entity, EventSource, Feature, FeatureService, FeatureView, Field, Last,
    Sum, Time,
)

sales = EventSource(
    name="sales",
    id="sale_id",
    time=Time("sold_at"),
    fields=(
        Field("product_id", INT64), Field("day", DATE), Field("actor_id", STRING), Field("seller_id", STRING),
        Field("amount", FLOAT64), Field("note", STRING),
    ),
)
returns = EventSource(
    name="returns", id=None, time=Time("at", unit="s"), fields=(Field("product_id", INT64), Field("why", STRING))
)
PRODUCT = Entity("product", "product_id", "a product", type=INT64)
DAY = Entity("day", "day", "a day of delivery", type=DATE)
ACTOR = Entity("actor", "actor_id", "who buys or sells")
NOTE = Entity("note", "note", "a remark")
about = {"owner": "ada", "description": "Tested.", "freshness": timedelta(hours=1)}

of_product = FeatureView(
    name="of_product", source=sales, entities=(PRODUCT,),
    aggregations=(
        Count(name="sales", over=("1h", "total")), Last(name="last_at"),
        Distinct(name="days", rows_of="of_day", active="sold", over=("1h",)),
    ),
    **about,
)
of_day = FeatureView(
    name="of_day", source=sales, entities=(PRODUCT, DAY), where="amount > 0",
    aggregations=(Count(name="sold", over=("1h",)), Sum(name="revenue", of="amount", over=("1h",))), **about,
)
returned = FeatureView(
    name="returned", source=returns, entities=(PRODUCT,), aggregations=(Count(name="returns", over=("1h",)),), **about
)
bought = FeatureView(
    name="bought", source=sales, entities=(ACTOR,),
    aggregations=(Count(name="bought", over=("1h",)), Last(name="bought_at")), **about,
)
sold = FeatureView(
    name="sold", source=sales, entities=(ACTOR.as_("seller_id"),), where="actor_id <> seller_id",
    aggregations=(Count(name="sold", over=("1h",)), Last(name="sold_last")), **about,
)
stock = FeatureView(
    name="stock", entities=(PRODUCT,), lane="direct", written_features=(Feature("left", INT64, "how many"),), **about
)
shop = FeatureService(name="shop", features=("of_product", "returned", "stock"), owner="ada", description="Products.")
"""
NOTES = """
noted = FeatureView(
    name="noted", source=sales, entities=(NOTE,), where="product_id IS NOT NULL OR amount > 100",
    aggregations=(Count(name="noted", over=("1h",)), Last(name="noted_at")), **about,
)
"""


def sale(number: int, **changed: Any) -> dict[str, Any]:
    row = {"sale_id": f"s{number}", "product_id": 42, "day": "2026-03-02", "actor_id": "u1", "seller_id": "u2"}
    sold_at = (T0 - timedelta(minutes=number)).isoformat()
    return row | {"amount": 2.5, "note": f"n{number}", "sold_at": sold_at} | changed


FIRST = (
    sale(1),
    sale(2, day="2026-03-03", actor_id="u2", seller_id="u1"),
    sale(3, product_id=-7, day=None, seller_id=None),
    sale(4, product_id=None, actor_id=None, amount=-3),
    sale(5, seller_id="u1", amount=None, sold_at=(T0 + timedelta(minutes=5)).isoformat()),
    sale(6, product_id=2**63 - 1, note="x" * 1_200),
    sale(7, note="a\tb"),
    sale(8, note="common"),
    sale(9, note="common", seller_id=None),
)
# Rows leave and enter what is counted: by their key, and by what the views ask of them.
SECOND = (
    sale(1, amount=0, seller_id="u1"),
    sale(2, day=None, seller_id="u2"),
    sale(3, product_id=None),
    sale(4, product_id=42, actor_id="u1", amount=3),
    sale(6, product_id=None, note="short"),
    sale(8, note="a\nb", product_id=-7, day="0001-01-01"),
)
THIRD = (
    sale(7, note="common", amount=200, product_id=None),
    sale(8, note="common", product_id=7),
    sale(9, note="y" * 1_001),
    sale(6, note=None),
)


def land(home: Workspace, name: str, *rows: dict[str, Any], source: str = "sales") -> None:
    folder = Path(home.settings.landing) / source
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def check_gold(home: Workspace) -> None:
    """Gold is what a full computation comes to."""
    differing = {name: one["differing"] for name, one in home.verify()["views"].items()}
    assert differing == dict.fromkeys(home.definitions.batch_views, 0)


def check_answers(address: str) -> None:
    """The reader finds what landed under numbers and dates, and gives them back as such."""
    query = {"feature_service": "shop", "entities": {"product_id": ["42", -7, 7.0, 9223372036854775807]}}
    answer, _ = ask(address, query, times=1)
    names, results = answer["metadata"]["feature_names"], answer["results"]
    shown = {name: result["values"] for name, result in zip(names, results, strict=True)}
    assert shown["product_id"] == [42, -7, 7, 9223372036854775807]
    assert shown["sales_total"] == [5, 1, None, 1]
    assert shown["days_1h"] == [2, 0, None, 1]
    assert shown["returns_1h"] == [1, None, None, None]


def check_client(client: Client) -> None:
    """Python's numbers and dates are keys; two views of a person by other columns are read together; bad keys are refused."""
    days: dict[str, Any] = {"product_id": 42, "day": [date(2026, 3, 2), date(2026, 3, 3)]}
    assert client.columns(["of_day:revenue_1h"], entities=days).values("revenue_1h") == [10.0, 2.5]
    both = client.columns(["bought", "sold"], entities={"actor_id": ["u1", "u2"]})
    assert (both.values("bought_1h"), both.values("sold_1h")) == ([6, 1], [1, 4])
    with pytest.raises(ReaderError, match=r"'product_id' of product, id 1 is '007'"):
        client.columns(["returned"], entities={"product_id": [7, "007"]})
    with pytest.raises(ReaderError, match=r"'day' of day"):
        client.columns(["of_day"], entities=days | {"day": "2026-02-30"})

    keys: list[Any] = [42, "-7", 1.5]
    written = client.write("stock", [{"keys": {"product_id": key}, "values": {"left": 3}} for key in keys])
    assert [one["status"] for one in written] == ["WRITTEN", "WRITTEN", "INVALID"]
    assert client.columns(["stock"], entities={"product_id": ["42", -7]}).values("left") == [3, 3]


def home_of(folder: Path, definitions: str, settings: Settings) -> Workspace:
    """The home, with these definitions in a folder that nothing was loaded from before."""
    folder.mkdir()
    (folder / "shop.py").write_text(textwrap.dedent(definitions))
    return Workspace(settings=replace(settings, features=(str(folder),)))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("patient_readers")
def test_numbers_and_dates_are_keys_from_landing_to_the_ranker(make_settings, empty_tables, tmp_path, monkeypatch):
    settings = home_with(empty_tables, make_settings())
    home = home_of(tmp_path / "shop", SHOP, settings)
    land(home, "first", *FIRST)
    land(home, "first", {"product_id": 42, "at": T0.timestamp() - 60}, {"product_id": None, "at": 5}, source="returns")
    first = home.refresh(as_of=T0)
    rows = {"of_day": 3, "of_product": 3, "returned": 1, "bought": 2, "sold": 2}
    assert {name: one.gold_rows for name, one in first.refreshed.items()} == rows
    assert home.get("of_day", 42, date(2026, 3, 2)) == home.get("of_day", "42", "2026-03-02", source="gold")
    assert (home.get("of_product", -7, source="gold") or {})["sales_total"] == 1
    with pytest.raises(CommandError, match="product"):
        home.get("of_product", "042")
    monkeypatch.setenv("TAILRACE_FEATURES", str(tmp_path / "shop"))
    with reader(home.settings) as address, Client(address) as client:
        check_answers(address)
        check_client(client)
    assert home.get("stock", -7) == {"left": 3}

    # Rows that came before their notes were keys have notes that cannot be any.
    home = home_of(tmp_path / "later", SHOP + NOTES, settings)
    land(home, "second", *SECOND)
    second = home.refresh(as_of=T0 + GRID)
    assert {name: one.how for name, one in second.refreshed.items()} == {
        name: "full" if name == "noted" else "incremental" for name in home.definitions.batch_views
    }
    check_gold(home)
    compared = home.reconcile()
    assert {name: compared[name] for name in AGREED} == AGREED

    home = Workspace(settings=home.settings, views=("noted",))
    land(home, "third", *THIRD)
    assert home.refresh(as_of=T0 + 2 * GRID).refreshed["noted"].how == "incremental"
    assert home.verify()["differing"] == 0
    gold = home.lake.read(home.definitions.batch_views["noted"].table).collect()
    assert all(len(row.note) <= 1_000 and row.note.isprintable() for row in gold)
