"""Work that a process repeats in the background."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from serving.common.messages import one_line


async def keep_doing(
    what: str, do: Callable[[], Awaitable[None]], *, pause: Callable[[], float], log: logging.Logger
) -> None:
    """Do it after each pause, in seconds, until cancelled: whatever goes wrong is logged, and the next time comes.

    A failure that stays the same is logged once.
    """
    before = ""
    while True:
        await asyncio.sleep(pause())
        failure = ""
        try:
            await do()
        except Exception as error:  # noqa: BLE001 - what is wrong now may be right the next time, and nobody else looks
            failure = one_line(error)
        if failure and failure != before:
            log.error("%s failed, and is tried again: %s", what, failure)
        before = failure
