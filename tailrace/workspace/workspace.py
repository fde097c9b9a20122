"""The workspace: one home and its definitions, as Python."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailrace.errors import CommandError
from tailrace.lake.task_progress import Progress, say_nothing
from tailrace.schemas.ids import Key
from tailrace.schemas.slots import parse_as_of, times_between, to_text
from tailrace.settings import Settings, with_project
from tailrace.workspace.resources import Resources, settings_of_home

if TYPE_CHECKING:
    from jobs.bronze.set_aside import FilesToExclude
    from tailrace.workspace.refresh import Report

Json = dict[str, Any]
Folder = str | Path
LAYERS = ("bronze", "silver", "gold", "publish")
Time = str | datetime  # text as the command line takes it, such as "2026-01-31T09:15:00Z"


class Workspace(Resources):
    """One home and its definitions: every command that works on a home is a method here.

    `home` and `features` (a folder, or several) stand for TAILRACE_HOME and TAILRACE_FEATURES; all other settings are
    read from the environment, and from `tailrace.toml` in the current folder. `settings` replaces all of that. `views` names the views that are refreshed, all by default.

    A method returns the object that its command prints with `--json`, and raises `TailraceError` where the command fails.
    `progress` is called with the name of each step. Spark and the store are started when a method needs them.
    """

    def __init__(
        self,
        *,
        home: Folder | None = None,
        features: Folder | Iterable[Folder] | None = None,
        views: Iterable[str] = (),
        settings: Settings | None = None,
    ) -> None:
        super().__init__(settings or settings_of(home, features), views=views)

    def refresh(
        self,
        *,
        as_of: Time | None = None,
        any_as_of: bool = False,
        full: bool = False,
        allow_large_change: str | None = None,
        set_aside: Sequence[str] = (),
        because: str | None = None,
        progress: Progress = say_nothing,
    ) -> "Report":
        """Take in what landed, refresh every view, and push what changed; `Report.json()` is what the command prints."""
        from tailrace.workspace.refresh import refresh

        return refresh(
            self,
            as_of=optional_time(as_of),
            any_as_of=any_as_of,
            full=full,
            allowed=allow_large_change,
            aside=files_set_aside(set_aside, because),
            progress=progress,
        )

    def run_layer(
        self,
        layer: str,
        *,
        as_of: Time | None = None,
        any_as_of: bool = False,
        full: bool = False,
        allow_large_change: str | None = None,
        set_aside: Sequence[str] = (),
        because: str | None = None,
    ) -> Json:
        """Run one layer of a refresh by itself: bronze, silver, gold or publish."""
        refuse_options(
            layer,
            timed=full or as_of is not None,
            chosen=bool(self.views),
            allowed=allow_large_change is not None,
            aside=bool(set_aside),
        )
        aside, time = files_set_aside(set_aside, because), optional_time(as_of)
        from tailrace.workspace.refresh import run_layer

        return run_layer(
            self, layer, as_of=time, any_as_of=any_as_of, full=full, allowed=allow_large_change, aside=aside
        )

    def verify(self, *, progress: Progress = say_nothing) -> Json:
        """Compute every view in full and compare it with gold; `differing` counts the rows that do not agree."""
        from tailrace.workspace.reconciliation import verify_all

        return verify_all(self, progress)

    def reconcile(self, *, repair: bool = False, progress: Progress = say_nothing) -> Json:
        """Compare every gold row with the online store, and with `repair` write what differs as gold has it."""
        from tailrace.workspace.reconciliation import reconcile_all

        return reconcile_all(self, progress, repair=repair)

    def rebuild(self, *, progress: Progress = say_nothing) -> Json:
        """Write what the lake knows of the chosen views into the store, after it was lost or a view's lane was changed."""
        from tailrace.workspace.reconciliation import rebuild_all

        return rebuild_all(self, progress)

    def backfill(
        self,
        from_: Time,
        to: Time,
        *,
        every: int = 15,
        views: Sequence[str] = (),
        id: str | None = None,
        progress: Progress = say_nothing,
    ) -> Json:
        """Compute values of views at past times, `every` so many minutes, into their history.

        Gold and the store stay as they are. A backfill that was cut off goes on where its `id` is given again.
        """
        from tailrace.workspace.reconciliation import backfill_views

        times = times_between(parsed(from_), parsed(to), every=timedelta(minutes=every))
        id_ = id or f"{as_given(from_)} {as_given(to)} {every}, begun {to_text(datetime.now(UTC))}"
        return backfill_views(self, times, id_=id_, views=views, progress=progress)

    def get(self, view: str, *key: Key, source: str = "store") -> Json | None:
        """A row's features by name, times as text, from the store or gold; None where there is no such row.

        `key` has an id per key column, as its entity's type or as text: 42 and "42" are the same INT64 key.
        """
        from tailrace.workspace.lookup import look_up

        return look_up(self, self.definitions.view(view), key, source=source)

    def export(self, view: str, out: Folder) -> Json:
        """Write a view's gold table as plain Parquet into a folder that does not exist yet."""
        from tailrace.workspace.lookup import export

        return export(self, self.definitions.view(view), Path(out))

    def maintain(self) -> Json:
        """Compact and vacuum every table, and remove what nobody needs any more from the store."""
        from tailrace.workspace.refresh import maintain_all

        return maintain_all(self)

    def runs(self, *, last: int = 10) -> list[Json]:
        """The last runs of the publisher, the newest first, view by view."""
        from sinks.history import read_runs

        return read_runs(self.lake, last=last)

    def readings(self) -> Json:
        """How sources that read tables of others were last read: by which way, the versions, and the rows; by source."""
        from jobs.silver.follow import last_readings

        return last_readings(self.lake, self.definitions.table_feeds)

    def plan(self, *, price: float | None = None) -> Json:
        """The lane that suits each view, with figures and reasons.

        `price` is dollars for a million write units; by default what DynamoDB asks in us-east-1.
        """
        from tailrace.workspace.lane_plan import plan_lanes

        return plan_lanes(self, price=price)

    def diff(self, *, price: float | None = None) -> Json:
        """What changed in the definitions since the last refresh, and what the next one computes and pushes for it.

        `price` is as in `plan`.
        """
        from tailrace.workspace.definition_changes import diff_definitions

        return diff_definitions(self, price=price)

    def undefined(self) -> dict[str, Json]:
        """What there still is of views that no definition has, as far as local folders and the stream name them."""
        from tailrace.workspace.undefined import found_at_a_glance

        return found_at_a_glance(self)

    def drop(self, view: str, *, history: bool = False, progress: Progress = say_nothing) -> Json:
        """Remove what a view that is no longer defined left in the store and in gold, and with `history` its history."""
        from tailrace.workspace.undefined import drop_view

        return drop_view(self, view, progress, with_history=history)

    def run_stream(self, *, progress: Progress = say_nothing) -> None:
        """Keep the views of the lane stream up to date until the process ends; it goes on where another one was killed."""
        from jobs.streaming.heartbeat import exclusive, refuse_half_rebuilt
        from tailrace.workspace.stream_process import follow

        with exclusive(self.settings.home):
            refuse_half_rebuilt(self.settings.home)
            follow(self.settings, progress)

    def stream_status(self, *, grace: float = 0.0) -> Json:
        """How far the stream is, and under `why` what is wrong with it."""
        from tailrace.workspace.stream_status import stream_state

        return stream_state(self.settings, grace=grace)


def settings_of(home: Folder | None, features: Folder | Iterable[Folder] | None) -> Settings:
    """The settings of the environment and of the project, with another home and other folders of definitions where these are given."""
    settings = settings_of_home(with_project(os.environ) | ({} if home is None else {"TAILRACE_HOME": str(home)}))
    if features is None:
        return settings
    folders = [features] if isinstance(features, str | Path) else features
    return replace(settings, features=tuple(str(folder) for folder in folders))


def optional_time(given: Time | None) -> datetime | None:
    """A time that may be left out."""
    return None if given is None else parsed(given)


def parsed(given: Time) -> datetime:
    """A time of the 15-minute grid; raises `AsOfError` for any other."""
    return parse_as_of(as_given(given))


def as_given(given: Time) -> str:
    return given if isinstance(given, str) else given.isoformat()


def refuse_options(layer: str, *, timed: bool, chosen: bool, allowed: bool, aside: bool) -> None:
    """Raise `CommandError` for a layer that is not there, and for what a layer does not take."""
    if layer not in LAYERS:
        raise CommandError(f"there is no layer {layer!r}; there are {', '.join(LAYERS)}")
    if timed and layer != "gold":
        raise CommandError(f"--as-of and --full go with gold; {layer} takes what there is")
    if chosen and layer not in {"gold", "publish"}:
        raise CommandError(f"--view goes with gold and publish; {layer} is for all views")
    if allowed and layer != "publish":
        raise CommandError(f"--allow-large-change goes with publish; {layer} pushes nothing")
    if aside and layer != "bronze":
        raise CommandError(f"--set-aside goes with bronze, which takes files; {layer} takes none")


def files_set_aside(files: Sequence[str], why: str | None) -> "FilesToExclude | None":
    """The landed files to exclude, and why; None where none is named."""
    if bool(files) != bool(why):
        raise CommandError("--set-aside and --because go together: name the files, and say why they are excluded")
    if not files or not why:
        return None
    from jobs.bronze.set_aside import FilesToExclude

    return FilesToExclude(tuple(files), why)
