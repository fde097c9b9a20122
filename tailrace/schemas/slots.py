"""Refresh times: as-of times lie on a 15-minute grid in UTC."""

from datetime import UTC, datetime, timedelta

from tailrace.errors import UsageError

GRID = timedelta(minutes=15)  # from one as-of tick to the next
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)  # events of before do not land
LATEST = datetime(2200, 1, 1, tzinfo=UTC)  # nor of then or later


class AsOfError(UsageError):
    """An as-of time that cannot be refreshed to; the message names times that can."""


def last_tick(now: datetime) -> datetime:
    """The newest grid time that is not after `now`."""
    return now - (now - EPOCH) % GRID


def parse_as_of(text: str) -> datetime:
    """Read an ISO time on the grid; one without an offset is UTC."""
    try:
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        check_on_grid(time)
    except (ValueError, OverflowError) as error:
        raise AsOfError(f"{text!r} is not a time; write it as 2026-01-31T09:15:00Z") from error
    return time


def check_on_grid(as_of: datetime) -> None:
    """Raise `AsOfError` for a time off the grid, with its neighbours."""
    before = last_tick(as_of)
    if before != as_of:
        raise AsOfError(
            f"as-of {to_text(as_of)} is not on the 15-minute grid; the neighbours are "
            f"{to_text(before)} and {to_text(before + GRID)}"
        )


def check_within_reach(as_of: datetime, *, now: datetime) -> None:
    """Raise `AsOfError` for a time beyond the next tick, or before 1900.

    Views that are refreshed to a far time empty their windows, and refuse every refresh to an earlier one.
    """
    following = last_tick(now) + GRID
    if EARLIEST <= as_of <= following:
        return
    which = f"beyond the next tick, {to_text(following)}" if as_of > following else f"before {EARLIEST.year}"
    raise AsOfError(
        f"as-of {to_text(as_of)} lies {which}; refresh to {to_text(last_tick(now))}, or give no time. "
        "Tests of other times take it with --any-as-of"
    )


def times_between(first: datetime, last: datetime, *, every: timedelta) -> list[datetime]:
    """The grid times from one to another, both included; raises `AsOfError` where there are none."""
    if every <= timedelta(0) or every % GRID:
        raise AsOfError(
            f"every {every // timedelta(minutes=1)} minutes is not on the 15-minute grid; take a multiple of 15"
        )
    if first > last:
        raise AsOfError(f"the range from {to_text(first)} to {to_text(last)} is empty; give the earlier time first")
    if first < EARLIEST:
        raise AsOfError(f"{to_text(first)} lies before {EARLIEST.year}, and no event does; give a later time")
    return [first + number * every for number in range((last - first) // every + 1)]


def to_text(time: datetime) -> str:
    """A time as it stands in every JSON of Tailrace: UTC, `Z`, microseconds only where there are some."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def to_micros(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The time so many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=micros)
