"""What is noted of a request on its way through the reader."""

from time import perf_counter
from typing import Literal

from aiohttp import web

from serving.common.request import FeatureRequest

Stage = Literal["receive", "parse", "store", "decode", "on_demand", "write"]


class Trip:
    """How long each stage took, in seconds, what was asked, and why there is no answer if there is none.

    A stage begins where the one before it ended, the first with the request's headers.
    """

    __slots__ = ("_since", "asked", "begun", "id", "seconds", "why")

    def __init__(self) -> None:
        self.begun = self._since = perf_counter()
        self.seconds: dict[Stage, float] = {}
        self.id = ""
        self.why = ""  # for the log: callers get less
        self.asked: FeatureRequest | None = None

    def end(self, stage: Stage) -> None:
        now = perf_counter()
        self.seconds[stage] = now - self._since
        self._since = now

    @property
    def total(self) -> float:
        """Seconds until the last stage that ended."""
        return self._since - self.begun


TRIP = web.RequestKey("TRIP", Trip)
