"""What a store's refusal of direct writes says: whose fault it is, and what the store has instead."""

from collections.abc import Sequence

from tailrace.store.dynamodb.attributes import list_in, object_in
from tailrace.store.dynamodb.ordered import order_in
from tailrace.store.dynamodb.wire import StoreError, is_throttling
from tailrace.store.order import Order, OrderedValue

# What says that one row cannot be written, whatever becomes of the others.
OWN_REFUSALS = frozenset({"ValidationException", "ItemCollectionSizeLimitExceededException", "413"})
THROTTLED_REASONS = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})
RETRIED_REASONS = THROTTLED_REASONS | {"None", "TransactionConflict", "ConditionalCheckFailed"}
CONDITION_FAILED = "ConditionalCheckFailedException"
CANCELED = "TransactionCanceledException"


def codes_in(error: StoreError) -> list[str]:
    """Why each action of a transaction was canceled, `None` for one that was not to blame; some stores give texts."""
    reasons = list_in(error.details, "CancellationReasons")
    return [str((reason.get("Code") if isinstance(reason, dict) else reason) or "None") for reason in reasons]


def is_throttled(error: StoreError) -> bool:
    """Whether the store takes less than it is sent."""
    return is_throttling(error) or (error.code == CANCELED and not THROTTLED_REASONS.isdisjoint(codes_in(error)))


def is_refused_whole(error: StoreError, rows: Sequence[OrderedValue]) -> bool:
    """Whether to look for a row that is to blame: waiting will not help, or the store does not say which failed."""
    if error.code != CANCELED:
        return error.code in OWN_REFUSALS
    codes = codes_in(error)
    return not RETRIED_REASONS.issuperset(codes) or (len(rows) > 1 and len(codes) != len(rows))


def stale_of(error: StoreError, rows: Sequence[OrderedValue]) -> dict[int, Order | None]:
    """The rows whose own condition failed, by place, with the orders that the store has."""
    if error.code == CONDITION_FAILED:
        failed = {0: object_in(error.details, "Item")}
    elif error.code == CANCELED:
        reasons = list_in(error.details, "CancellationReasons")
        codes = enumerate(codes_in(error)[: len(rows)])
        failed = {i: object_in(reasons[i], "Item") for i, code in codes if code == "ConditionalCheckFailed"}
    else:
        failed = {}
    return {i: order_in(item, rows[i].view, rows[i].sequence) for i, item in failed.items()}
