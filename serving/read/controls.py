"""The control items of views: the watermark of each, and every schema its values may have been written under."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from serving.common.loop import keep_doing
from serving.common.messages import LONGEST_LINE, brief, of_store
from serving.telemetry.metrics import UNREADABLE, Counters
from tailrace.definitions import Definitions, FeatureView
from tailrace.definitions.fingerprints import schema_fingerprint
from tailrace.schemas.slots import from_micros, to_text
from tailrace.store.codec import Codec
from tailrace.store.control import Control, known_schemas
from tailrace.store.failures import StoreError
from tailrace.store.port import Store

REFRESH_SECONDS = 1.0
READ_SECONDS = 2.0
FRESH_SECONDS = 1.0  # for which a probe takes what is known

log = logging.getLogger(__name__)


class Controls:
    """The control items of all views, read again every second, and the codecs for the schemas that they name.

    `failure` says why the last reading failed, and is empty if it did not.
    """

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        counters: Counters,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failure = "the control items have not been read yet"
        self._unreported: Counter[str] = Counter()
        self._reading: asyncio.Task[None] | None = None
        self._clock = clock
        self._read_at = -math.inf
        self._counters = counters
        self._store = store
        self._views = definitions.views
        self._controls: dict[str, Control] = {}
        self._codecs = {view.name: {view.fingerprint: Codec(view.name, view.features)} for view in self._views.values()}
        self._unknown: set[tuple[str, str]] = set()

    def codec(self, view: str) -> Codec:
        """The codec of the view as it is defined."""
        return self._codecs[view][self._views[view].fingerprint]

    def known_codecs(self, view: str) -> dict[str, Codec]:
        """By fingerprint, also of schemas that the view had since this reader started."""
        return self._codecs[view]

    async def keep_fresh(self) -> None:
        """Read the control items again and again, until cancelled."""
        await keep_doing("reading the control items", self._keep_fresh_once, pause=lambda: REFRESH_SECONDS, log=log)

    async def _keep_fresh_once(self) -> None:
        await self._share_reading()
        self._report_unreadable()

    async def be_fresh(self) -> None:
        """Have what is known at most a second old; however many ask, the store is read once."""
        if self._clock() - self._read_at >= FRESH_SECONDS:
            await self._share_reading()

    async def _share_reading(self) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self.refresh())
        await asyncio.shield(self._reading)

    async def close(self) -> None:
        """Give up a reading that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def go_on_from(self, before: "Controls") -> None:
        """Take over what controls of other definitions know of the views that are in both."""
        self._controls = {view: control for view, control in before._controls.items() if view in self._views}
        for view in self._views.keys() & before._views.keys():
            self._codecs[view] = before._codecs[view] | self._codecs[view]

    async def refresh(self) -> None:
        """Read the control items; where the store cannot be read, keep those read last and say so in `failure`."""
        before, why = self.failure, ""
        try:
            async with asyncio.timeout(READ_SECONDS):
                controls = await self._store.read_controls(self._views)
            for view, control in controls.items():
                self._understand(view, control)
            self._controls, self.failure = controls, ""
        except StoreError as error:
            self.failure, why = of_store(error), str(error)
        except TimeoutError:
            self.failure = why = f"the online store did not answer within {READ_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001 - whatever is wrong with an item, those read last stay
            why = brief(f"{type(error).__name__}: {error}", LONGEST_LINE)
            self.failure = f"a control item cannot be understood, {type(error).__name__}; upgrade this reader"
        self._read_at = self._clock()
        if self.failure and self.failure != before:
            log.warning("control items: %s", why)

    def _understand(self, view: str, control: Control) -> None:
        """Have a codec for each schema that values have; raises if an answer could not describe this item."""
        if control.watermark is not None:
            from_micros(control.watermark)
        for schema in known_schemas(control):
            codec = Codec(view, schema)
            self._codecs[view].setdefault(codec.fingerprint, codec)

    async def learn(self, view: str, fingerprints: Iterable[str]) -> None:
        """Look the schemas of these values up, once for each that the control items do not name."""
        new = {(view, one) for one in fingerprints if one not in self._codecs[view]} - self._unknown
        if new:
            await self.refresh()
            if not self.failure:
                self._unknown |= {(view, one) for _, one in new if one not in self._codecs[view]}

    def watermarks(self) -> dict[str, int]:
        """Of the views that have one, in microseconds since 1970."""
        return {view: one.watermark for view, one in self._controls.items() if one.watermark is not None}

    def facts(self, view: str, *, now: int) -> dict[str, Any]:
        """The facts about a view in an answer; `now` is microseconds since 1970."""
        control = self._controls.get(view)
        watermark = control.watermark if control else None
        return {
            "lane": self._views[view].lane,
            "watermark": None if watermark is None else to_text(from_micros(watermark)),
            "age_seconds": None if watermark is None else round((now - watermark) / 1e6, 3),
        }

    def is_outdated(self, view: str, *, now: int) -> bool:
        """Whether the view's watermark is older than the view allows, or unknown where it does not allow any age."""
        limit = self._views[view].max_age
        if limit is None:
            return False
        control = self._controls.get(view)
        watermark = control.watermark if control else None
        return watermark is None or now - watermark > limit.total_seconds() * 1e6

    def unready(self) -> dict[str, str]:
        """Why views cannot be served as they are defined, by view; empty when all can."""
        reasons = {name: self._unready(view) for name, view in self._views.items()}
        return {name: reason for name, reason in reasons.items() if reason}

    def _unready(self, view: FeatureView) -> str:
        control = self._controls.get(view.name)
        if self.failure:
            return "not known while the online store cannot be read"
        has_values = control is not None and control.watermark is not None
        return view.unready(schema_fingerprint(control.features) if control and has_values else None)

    def count_unreadable(self, view: str, values: int) -> None:
        """Count values that were answered as not found: their schema is unknown, or they are damaged."""
        if values:
            self._unreported[view] += values
            self._counters.add((UNREADABLE, view), values)

    def _report_unreadable(self) -> None:
        for view, count in self._unreported.items():
            log.warning("view %s: %d more values were unreadable and answered as not found", view, count)
        self._unreported.clear()
