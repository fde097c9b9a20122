"""What a store could not do for now, and for how long it is asked again."""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any, Self

from tailrace.errors import UnavailableError

ATTEMPTS = 8  # of a reader, who has somebody waiting
PATIENCE_SECONDS = 120  # of a writer, who had rather be slow than fail
FIRST_DELAY_SECONDS = 0.05
LONGEST_DELAY_SECONDS = 2.0

# No answer, and half an answer: the next attempt need not meet either.
PASSING = frozenset({"Unreachable", "Unreadable"})


class StoreError(UnavailableError):
    """The online store refused a request or could not be reached; `code` is the store's own name for it.

    `is_transient` says that the same request may succeed later, `is_throttling` that the store takes less than it is
    sent, `is_refusal` that it refuses what is in the request and will refuse it again, and `is_missing` that the store
    has no table yet.
    """

    def __init__(
        self,
        code: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        is_transient: bool = False,
        is_throttling: bool = False,
        is_refusal: bool = False,
        is_missing: bool = False,
    ) -> None:
        super().__init__(f"online store: {code}: {message}")
        self.code = code
        self.message = message
        self.details = details or {}
        self.is_throttling = is_throttling
        self.is_transient = is_transient or is_throttling or code in PASSING
        self.is_refusal = is_refusal
        self.is_missing = is_missing

    def saying(self, message: str) -> Self:
        """The same error with another message."""
        return type(self)(
            self.code,
            message,
            self.details,
            is_transient=self.is_transient,
            is_throttling=self.is_throttling,
            is_refusal=self.is_refusal,
            is_missing=self.is_missing,
        )


class NoTransactions(StoreError):
    """The online store knows no transactions, and the settings ask for them; the message names the setting."""

    retryable = False


class OtherEnvironment(StoreError):
    """The online store is of another environment than this home; the message names both and what to do."""

    retryable = False


def refuse_other_environment(table: str, found: str, own: str) -> None:
    """Raise `OtherEnvironment` unless a table is of this environment; either may be empty, which is none."""
    if found == own:
        return
    here = f"this home is of {own!r}" if own else "this home is of none"
    raise OtherEnvironment(
        "OtherEnvironment",
        f"table {table!r} is of the environment {found!r}, and {here}; nothing was written. Name another table in "
        f"TAILRACE_STORE_TABLE, or set TAILRACE_ENVIRONMENT={found} if this home writes that one",
    )


class Patience:
    """How long one request is tried: so many attempts or, where seconds are given, so long."""

    def __init__(self, *, attempts: int = ATTEMPTS, seconds: float | None = None) -> None:
        self._attempts = attempts
        self._seconds = seconds
        self._began = time.monotonic()
        self._made = 0

    def begin_again(self, progress: float | None) -> None:
        """Count from the first attempt, or from when something else last went through, on the monotonic clock."""
        if self._made == 0:
            self._began = time.monotonic()
        elif progress is not None:
            self._began = max(self._began, progress)

    async def wait_after(self, failure: StoreError) -> None:
        """Wait for the next attempt; raises the failure where there is none."""
        self._made += 1
        if self._seconds is None:
            if self._made >= self._attempts:
                raise failure
        elif time.monotonic() - self._began >= self._seconds:
            message = f"{failure.message}; gave up after {self._made} attempts in {self._seconds:g} s"
            raise failure.saying(message) from failure
        await asyncio.sleep(delay_after(self._made))


def delay_after(attempt: int) -> float:
    """Seconds to wait: random up to a bound that doubles (https://aws.amazon.com/builders-library/, jitter)."""
    return random.uniform(0, min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(attempt, 32)))
