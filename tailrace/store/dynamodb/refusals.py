"""What DynamoDB's refusal of a write means, for every lane: whose fault it is, and what the store has instead."""

from collections.abc import Sequence
from typing import NamedTuple

from tailrace.store.dynamodb.attributes import list_in, object_in
from tailrace.store.dynamodb.ordered import order_in
from tailrace.store.dynamodb.wire import StoreError, is_throttling
from tailrace.store.order import Order, OrderedValue

# One row cannot be written, whatever becomes of the others.
OWN_REFUSALS = frozenset(
    {"ValidationException", "ItemCollectionSizeLimitExceededException", "SerializationException", "413"}
)
THROTTLED_REASONS = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})
RETRIED_REASONS = THROTTLED_REASONS | {"None", "TransactionConflict"}
LATE_REASON = "ConditionalCheckFailed"
CONDITION_FAILED = "ConditionalCheckFailedException"
CANCELED = "TransactionCanceledException"


class Reason(NamedTuple):
    """Why one action of a transaction was canceled; the code is `None` for one that was not to blame."""

    code: str
    message: str

    @property
    def is_late(self) -> bool:
        """Whether the action's own condition does not hold."""
        return self.code == LATE_REASON

    @property
    def is_passing(self) -> bool:
        """Whether the same action may succeed later."""
        return self.code in RETRIED_REASONS


def reasons_of(error: StoreError) -> list[Reason]:
    """Why a transaction was canceled, an entry per action; empty where the store does not say. Some stores give texts."""
    if error.code != CANCELED:
        return []
    return [reason_of(reason) for reason in list_in(error.details, "CancellationReasons")]


def reason_of(reason: object) -> Reason:
    if isinstance(reason, dict):
        return Reason(str(reason.get("Code") or "None"), str(reason.get("Message") or "no message"))
    return Reason(str(reason or "None"), "no message")


def is_condition_failed(error: StoreError) -> bool:
    """Whether the condition of a single write does not hold."""
    return error.code == CONDITION_FAILED


def late_places(error: StoreError) -> list[int]:
    """The places of a transaction's actions whose own conditions do not hold."""
    return [place for place, reason in enumerate(reasons_of(error)) if reason.is_late]


def is_own_refusal(error: StoreError) -> bool:
    """Whether the store refuses the request for what is in it, and will again."""
    return error.code in OWN_REFUSALS


def is_throttled(error: StoreError) -> bool:
    """Whether the store takes less than it is sent."""
    return is_throttling(error) or any(reason.code in THROTTLED_REASONS for reason in reasons_of(error))


def is_refused_whole(error: StoreError, rows: Sequence[OrderedValue]) -> bool:
    """Whether to look for a row that is to blame: waiting will not help, or the store does not say which failed."""
    if error.code != CANCELED:
        return is_own_refusal(error)
    reasons = reasons_of(error)
    is_final = any(not (reason.is_late or reason.is_passing) for reason in reasons)
    return is_final or (len(rows) > 1 and len(reasons) != len(rows))


def stale_of(error: StoreError, rows: Sequence[OrderedValue]) -> dict[int, Order | None]:
    """The rows whose own condition failed, by place, with the orders that the store has."""
    if is_condition_failed(error):
        failed = {0: object_in(error.details, "Item")}
    else:
        reasons = list_in(error.details, "CancellationReasons")
        failed = {place: object_in(reasons[place], "Item") for place in late_places(error) if place < len(rows)}
    return {i: order_in(item, rows[i].view, rows[i].sequence) for i, item in failed.items()}
