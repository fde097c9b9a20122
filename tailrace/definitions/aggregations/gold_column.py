"""How gold computes one column in full and maintains it from refresh to refresh, as Spark SQL."""

from dataclasses import dataclass
from enum import StrEnum

from tailrace.definitions.aggregations.sql import LEAVING, LOST
from tailrace.definitions.names import Window
from tailrace.schemas.tables import Type


class Upkeep(StrEnum):
    """What a column's increment is: a difference, a value to compare with gold's, or none.

    A settled column of a key that lost an interaction is computed in full from the interactions that survive. If it is of an
    `Extreme`, that is only where the extreme is lost.
    """

    ADDED = "added"
    SETTLED = "settled"
    FOLLOWS = "follows"


@dataclass(frozen=True, kw_only=True)
class Extreme:
    """The best of what is in a window, in one or several columns, which is lost when what is as good leaves the window.

    `leaving` aggregates the best of the signed events that leave, as it is compared with the best that gold has and the best
    that comes: `as_good` is over the row that gold has, `old`, and the increments, `new`.
    """

    name: str
    window: Window
    leaving: str
    as_good: str

    @property
    def leaves(self) -> str:
        """The increments' column for what leaves."""
        return f"{LEAVING}{self.name}"

    @property
    def is_lost(self) -> str:
        """The increments' column that says whether it is lost."""
        return f"{LOST}_{self.name}"


@dataclass(frozen=True, kw_only=True)
class GoldColumn:
    """One column of gold but the keys; the functions below make the three kinds of `upkeep`.

    `full` aggregates the interactions of a key, or the rows of a base view where the aggregation has one. `increment`
    aggregates signed interactions, and, where it has a base view, `change` over the rows of its change feed. `merged` and
    `inserted` are over the row that gold has, `old`, and the increments, `new`.
    """

    name: str
    upkeep: Upkeep
    full: str
    increment: str = ""
    change: str = ""
    merged: str
    inserted: str
    extreme: Extreme | None = None

    def lacking(self, *, of_rows: bool) -> list[str]:
        """The parts that are empty and may not be, of a column that aggregates a base view's rows or interactions."""
        needed = ["full", "merged", "inserted"]
        if self.upkeep is not Upkeep.FOLLOWS:
            needed += ["increment", "change"] if of_rows else ["increment"]
        return [part for part in needed if not getattr(self, part)]


def added(name: str, *, full: str, difference: str, change: str = "", type: Type = Type.INT64) -> GoldColumn:
    """A column whose increments are differences; `difference` is what one signed interaction adds."""
    increment = f"coalesce(CAST(sum({difference}) AS {type}), CAST(0 AS {type}))" if difference else ""
    return GoldColumn(
        name=name,
        upkeep=Upkeep.ADDED,
        full=full,
        increment=increment,
        change=change,
        merged=f"old.{name} + new.{name}",
        inserted=f"new.{name}",
    )


def settled(name: str, *, full: str, candidate: str, better: str) -> GoldColumn:
    """A column that holds the best of a key's interactions: `candidate` of the gained ones, `better` of old and new."""
    return GoldColumn(
        name=name,
        upkeep=Upkeep.SETTLED,
        full=full,
        increment=candidate,
        merged=f"IF(new.{LOST}, new.{name}, {better})" if better else "",
        inserted=f"new.{name}",
    )


def settled_in_window(name: str, *, full: str, candidate: str, better: str, extreme: Extreme) -> GoldColumn:
    """A column of an extreme: `candidate` of what comes into its window, `better` of old and new."""
    return GoldColumn(
        name=name,
        upkeep=Upkeep.SETTLED,
        full=full,
        increment=candidate,
        merged=f"IF(new.{extreme.is_lost}, new.{name}, {better})",
        inserted=f"new.{name}",
        extreme=extreme,
    )


def follows(name: str, *, full: str, merged: str, inserted: str) -> GoldColumn:
    """A column that is computed from others of the row."""
    return GoldColumn(name=name, upkeep=Upkeep.FOLLOWS, full=full, merged=merged, inserted=inserted)
