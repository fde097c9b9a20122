"""Whose the values of a view are: one lane writes them, and the control item says which."""

from online.control import read_controls
from online.wire import StoreClient


class OtherLane(Exception):
    """A view's values are another lane's to write; the message says which, and how they change hands."""


async def check_lane(client: StoreClient, view: str, lane: str) -> None:
    """Raise `OtherLane` where the view's values are those of another lane than this."""
    control = (await read_controls(client, [view])).get(view)
    if control is not None and control.lane not in {None, lane}:
        raise OtherLane(
            f"view {view}: its values in the online store are those of the lane {control.lane}, and this would write them "
            f"as the lane {lane}; if its definition has changed, `tailrace rebuild {view}` hands it over"
        )
