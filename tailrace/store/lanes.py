"""Which lane owns a view, and how fresh its values are."""

from tailrace.definitions import BATCH
from tailrace.errors import ConflictError
from tailrace.store.control import Control

# In place of a lane: the view is being removed, and no lane writes it.
NO_LANE = "dropped"


class OtherLane(ConflictError):
    """A view's values are another lane's to write; the message says which, and how they change hands."""

    retryable = False


def owner_of(control: Control) -> str | None:
    """The lane that a view's values are of; None where it may be any. One that was pushed before lanes were told has a
    cursor.
    """
    return BATCH if control.lane is None and control.cursor is not None else control.lane


def refuse_other_lane(control: Control | None, view: str, lane: str) -> None:
    """Raise `OtherLane` where a control item says that the view's values are those of another lane than this."""
    owner = None if control is None else owner_of(control)
    if owner not in {None, lane}:
        raise OtherLane(
            f"view {view}: its values in the online store are those of the lane {owner}, and this would write them "
            f"as the lane {lane}; if its definition has changed, `tailrace rebuild {view}` hands it over"
        )
