"""How the stream of a home is: whether it runs, how far it is, and how fresh its views are. No Spark is started."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from jobs.streaming.checkpoint import ExcludedFiles, Parked, ParkedKey, checkpoint_of
from jobs.streaming.heartbeat import SILENT_SECONDS, Heartbeat, read_heartbeat, stream_runs
from tailrace.definitions import FeatureView, load_definitions
from tailrace.errors import CommandError
from tailrace.schemas.slots import to_text
from tailrace.settings import Settings
from tailrace.store.address import Address, with_store
from tailrace.store.failures import StoreError

STORE_SECONDS = 5.0
NAMED = 20  # of the files that were left out, the last ones

Status = dict[str, Any]


def stream_state(settings: Settings, *, grace: float = 0.0) -> Status:
    """The state of the stream. `why` says what is wrong, which is nothing for `grace` seconds after it has begun again.

    Raises `CommandError` where no stream ever ran.
    """
    views = load_definitions(settings.features).stream_views
    running, heartbeat, now = stream_runs(settings.home), read_heartbeat(settings.home), time.time()
    if heartbeat is None:
        raise CommandError(
            f"no stream has run yet in {settings.home}; `tailrace stream start` or `make up STREAMING=1` starts it"
        )
    watermarks, failure = read_watermarks(settings, views)
    lag = None if heartbeat.caught_up_to is None else max(now - heartbeat.caught_up_to, 0.0)
    why = reasons_why(heartbeat, views.values(), running=running, lag=lag, now=now)
    checkpoint = checkpoint_of(settings.home)
    parked, left_out = Parked(checkpoint).keys, ExcludedFiles(checkpoint).files
    young = running and now - (heartbeat.catching_up_since or 0.0) < grace
    return {
        "running": running,
        "pid": heartbeat.pid if running else None,
        "follows": running and heartbeat.follows,
        "began": time_text(heartbeat.began),
        "heartbeat_age_seconds": round(now - heartbeat.written, 3),
        "batch": heartbeat.batch,
        "lag_seconds": None if lag is None else round(lag, 3),
        "behind": heartbeat.behind,
        "waiting": heartbeat.waiting,
        "rows_per_second": heartbeat.rows_per_second,
        "failing_since": heartbeat.failing_since and time_text(heartbeat.failing_since),
        "error": heartbeat.error,
        "views": {name: view_status(view, watermarks.get(name), lag=lag, now=now) for name, view in views.items()},
        "parked": [asdict(one) for one in parked],
        "left_out": {"count": len(left_out), "files": [asdict(one) for one in left_out[-NAMED:]]},
        "why": [*([] if young else [*why, *failure]), *map(parked_words, parked)],
    }


def reasons_why(
    heartbeat: Heartbeat, views: Iterable[FeatureView], *, running: bool, lag: float | None, now: float
) -> list[str]:
    """Why the stream is not as it should be; empty where it is."""
    error = [heartbeat.error] if heartbeat.error else []
    if not running:
        since = time_text(heartbeat.written)
        return [f"it does not run, since {since} or later; `tailrace stream start` starts it", *error]
    why = []
    if now - heartbeat.written > SILENT_SECONDS:
        why.append(f"it has reported nothing for {now - heartbeat.written:.0f} s")
    late = [view for view in views if lag is None or lag > view.freshness.total_seconds()]
    if late:
        required = ", ".join(f"{view.name} {view.freshness.total_seconds():g} s" for view in late)
        lateness = "it has not caught up with its source yet" if lag is None else f"it lags {lag:.1f} s behind"
        why.append(f"{lateness}; required freshness: {required}")
    if late and heartbeat.waiting:
        why.append(f"{heartbeat.waiting:,} messages wait behind open transactions of their producers")
    return why + error if why else []


def parked_words(one: ParkedKey) -> str:
    left_out = to_text(datetime.fromtimestamp(one.minute * 60, UTC))
    return (
        f"view {one.view}: the key {one.key!r} is parked since {time_text(one.since)}, with events up to {left_out} left "
        f"out, because the store refuses its value: {one.reason}; once it fits, `tailrace rebuild` counts them, with the stream "
        "stopped"
    )


def view_status(view: FeatureView, watermark: int | None, *, lag: float | None, now: float) -> Status:
    freshness = view.freshness.total_seconds()
    return {
        "freshness_seconds": freshness,
        "watermark_age_seconds": None if watermark is None else round(now - watermark / 1e6, 3),
        "lags": lag is None or lag > freshness,
    }


def read_watermarks(settings: Settings, views: Mapping[str, FeatureView]) -> tuple[dict[str, int], list[str]]:
    """By view, in microseconds since 1970, and why they are not known; a store that does not run is not started."""
    address = Address.of_running(settings)
    if address is None:
        return {}, ["the embedded store does not run"]
    try:
        controls = with_store(address, lambda store: store.read_controls(views), patience=STORE_SECONDS)
    except StoreError as error:
        return {}, [] if error.is_missing else [str(error)]  # the first micro-batch makes the table
    return {name: one.watermark for name, one in controls.items() if one.watermark is not None}, []


def time_text(seconds: float) -> str:
    return to_text(datetime.fromtimestamp(seconds, UTC).replace(microsecond=0))
