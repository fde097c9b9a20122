"""Load until bronze has all that has landed by now, whichever process takes it."""

from collections.abc import Callable

from jobs.bronze.landing import Listing, new_files
from jobs.bronze.load import Loaded, last_claim, unfinished
from jobs.bronze.topic import Topic, ends_claimed, ends_of
from tailrace.lake.tables import Lake
from tailrace.schemas import landing
from tailrace.schemas.landing import LandingError

LOADS = 20  # each of which another process may have cut short by taking a part


def catch_up(lake: Lake, landing_folder: str, load: Callable[[], Loaded], *, topic: Topic | None) -> Loaded:
    """Load again and again until all that lies there now is appended; raises `LandingError` where others never end.

    One load is not enough beside others: what these have claimed it leaves to them, appended or not.
    """
    listing = Listing.of(lake, landing_folder)
    ends = {topic.file(one): of.end for one, of in ends_of(lake.spark, topic).items()} if topic else {}
    loaded = Loaded()
    for _ in range(LOADS):
        loaded += load()
        claimed = ends_claimed(lake, topic) if topic else {}
        if all(claimed.get(file, 0) >= end for file, end in ends.items()) and is_appended(lake, listing):
            return loaded
    raise LandingError("bronze does not come to have all that has landed: other loads are under way; try again")


def is_appended(lake: Lake, listing: Listing) -> bool:
    """Whether all files of a listing are claimed, and the last claim of all is appended."""
    left = (file for feed in landing.FEEDS for file in new_files(lake, listing, feed))
    return next(left, None) is None and unfinished(lake, last_claim(lake)) is None
