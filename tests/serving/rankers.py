"""Rankers that ask a reader without a pause, on kept connections and on new ones, and forgive nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

ASKED = {"features": ["actor_activity:events_7d"], "entities": {"actor_id": ["a0", "a1"]}}
BETWEEN_SECONDS = 0.02
PATIENCE = aiohttp.ClientTimeout(total=30)


class Rankers:
    """Some with a connection each that they keep, and one with a new connection for each request.

    `answers` counts by status. `failures` has what came instead of an answer: a connection that is refused at once is no
    failure, because nobody took the request.
    """

    def __init__(self, address: str) -> None:
        self.answers: Counter[int] = Counter()
        self.failures: list[str] = []
        self.refused = 0
        self._url = f"{address}/get-online-features"

    @asynccontextmanager
    async def asking(self, *, kept: int) -> AsyncIterator["Rankers"]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._ask(forget=number == kept)) for number in range(kept + 1)]
            yield self
            for task in tasks:
                task.cancel()

    async def answered(self, more: int) -> None:
        """Wait until so many more requests were answered, or one failed."""
        enough = self.answers.total() + more
        async with asyncio.timeout(60):
            while self.answers.total() < enough and not self.failures:  # noqa: ASYNC110 - rankers tell nobody
                await asyncio.sleep(BETWEEN_SECONDS)

    async def _ask(self, *, forget: bool) -> None:
        connector = aiohttp.TCPConnector(limit=1, force_close=forget)
        async with aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as session:
            while True:
                await self._ask_once(session)
                await asyncio.sleep(BETWEEN_SECONDS)

    async def _ask_once(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.post(self._url, json=ASKED) as answer:
                told: Any = await answer.json()
                self.answers[answer.status] += 1
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {told}")
        except aiohttp.ClientConnectorError:
            self.refused += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failures.append(f"{type(error).__name__} {error}")
