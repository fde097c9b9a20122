"""The leases of one micro-batch: of all views of the stream, and refused where the store lost what the stream had written."""

from collections.abc import Sequence

from sinks import lease
from sinks.rows import Address
from tailrace.definitions import STREAM, FeatureView
from tailrace.errors import DataError
from tailrace.store.control import Control


class StoreLost(DataError):
    """The store has nothing of views that the stream had written to; the message names them and says what to do."""


def take_leases(address: Address, views: Sequence[FeatureView], *, owner: str, first: bool) -> dict[str, Control]:
    """The leases of the views for one micro-batch; a repetition of it takes them over at once, being the same owner.

    Raises `StoreLost`, and gives them up, where a view was never closed though this is not the first micro-batch: counts
    would begin with what is still to come, under watermarks that tell of all.
    """
    taken = {view.name: take_lease(address, view, owner=owner) for view in views}
    # Every micro-batch closes all views before the next one begins, and with that each has a watermark.
    new = [] if first else [name for name, control in taken.items() if control.watermark is None]
    if new:
        for name, control in taken.items():
            lease.give_up(address, name, control.sequence)
        raise StoreLost(
            f"the store has nothing of {', '.join(new)}, though the stream wrote micro-batches before: the store was lost "
            "or is another one, or the view is new; stop the stream and run `tailrace rebuild`, then start it again"
        )
    return taken


def take_lease(address: Address, view: FeatureView, *, owner: str) -> Control:
    own = f"{owner} {view.name}"
    return lease.take(address, view.name, address.lease_seconds, lane=STREAM, owner=own, keep_cursor=False)
