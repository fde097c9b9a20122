"""Views that no definition has any more, and what there still is of them: gold, a history, values in the online store."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from jobs.streaming.checkpoint import checkpoint_of, remembered_views
from sinks.rebuild import drop_values
from tailrace.definitions import DefinitionError, Definitions
from tailrace.definitions.names import NAME, check_name
from tailrace.definitions.view import RESERVED
from tailrace.errors import CommandError
from tailrace.lake.task_progress import Progress
from tailrace.schemas import view_tables
from tailrace.settings import Settings
from tailrace.store.address import Address, with_store
from tailrace.store.control import Control, owner_of
from tailrace.store.failures import StoreError
from tailrace.workspace.resources import Resources

Json = dict[str, Any]
Controls = Mapping[str, Control] | None  # None where the store was not asked, or did not answer

GOLD = "gold"
LOCAL = "file"  # the scheme of paths of this machine
LOOK_SECONDS = 2.0  # for the store to answer a command that only lists


def found_in_everything(workspace: Resources, in_store: Iterable[str]) -> dict[str, Json]:
    """The views that no definition has, of all tables and of the views that the store knows."""
    from tailrace.lake import storage  # Spark, which a list of features does without

    tables = {
        layer: storage.folders_in(workspace.spark, f"{workspace.lake.root}/{layer}")
        for layer in (GOLD, view_tables.HISTORY)
    }
    names = undefined(workspace.definitions, *tables.values(), in_store)
    controls = with_store(workspace.store, lambda store: store.read_controls(names)) if names else {}
    return left_of(names, tables, controls)


def found_at_a_glance(workspace: Resources) -> dict[str, Json]:
    """Those that local folders name, which needs no Spark; of a lake elsewhere only the stream's.

    A store that does not run is not started for it.
    """
    lake = local_folder(workspace.settings.lake)
    tables = {layer: local_folders(lake / layer) if lake else [] for layer in (GOLD, view_tables.HISTORY)}
    of_stream = remembered_views(checkpoint_of(workspace.settings.home))
    names = undefined(workspace.definitions, *tables.values(), of_stream)
    found = left_of(names, tables, asked(workspace.settings, names) if names else {})
    return {name: left for name, left in found.items() if any(left.values())}


def undefined(definitions: Definitions, *names: Iterable[str]) -> list[str]:
    """The names of views among these that no definition has, in their order."""
    known = definitions.kept_names | RESERVED.keys()
    return sorted(name for name in set[str]().union(*names) - known if NAME.fullmatch(name))


def left_of(names: Iterable[str], tables: Mapping[str, Iterable[str]], controls: Controls) -> dict[str, Json]:
    """By view, whether it has gold, a history, and values in the store, and of which lane these are; null: not known."""
    return {
        name: {layer: name in found for layer, found in tables.items()}
        | {
            "store": None if controls is None else name in controls,
            "lane": owner_of(controls[name]) if controls and name in controls else None,
        }
        for name in names
    }


def local_folder(root: str) -> Path | None:
    """A folder of this machine that a root names; None for any other."""
    parts = urlsplit(root)
    return Path(unquote(parts.path) if parts.scheme else root) if parts.scheme in {"", LOCAL} else None


def local_folders(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir() if one.is_dir()] if folder.is_dir() else []


def asked(settings: Settings, names: Iterable[str]) -> Controls:
    """The control items of views, from a store that runs and answers soon."""
    address = Address.of_running(settings)
    if address is None:
        return None
    try:
        return with_store(address, lambda store: store.read_controls(names), patience=LOOK_SECONDS)
    except StoreError as error:
        return {} if error.is_missing else None


def drop_view(workspace: Resources, view: str, progress: Progress, *, with_history: bool) -> Json:
    """Remove what there is of a view that no definition has: of the store, of gold, and its history where that is asked.

    The store is first, and gold next: as long as one of them has anything the view is found. Each part that is gone already
    is passed over.
    """
    refuse_defined(workspace.definitions, view)
    progress("the store")
    dropped = drop_values(workspace.store, view)
    progress("the lake")
    own, past = view_tables.gold_table(view, keys=(), features=()), view_tables.history_table(view)
    had_gold = workspace.lake.drop(own)
    had_history = with_history and workspace.lake.drop(past)
    kept = [past.full_name] if not with_history and workspace.lake.exists(past) else []
    return {
        "view": view,
        "lane": dropped.lane,
        "values": dropped.values,
        "control_item": dropped.control,
        "gold": had_gold,
        "history": had_history,
        "kept": kept,
    }


def refuse_defined(definitions: Definitions, view: str) -> None:
    """Raise `CommandError` for a view that is defined, and for a name without a view."""
    if view in definitions.kept_names:
        raise CommandError(
            f"view {view} is defined; remove its definition, have jobs, stream and readers load the others, and drop it then"
        )
    if view in RESERVED:
        raise CommandError(f"{view} is {RESERVED[view]} and no view")
    try:
        check_name(view, of="VIEW")
    except DefinitionError as error:
        raise CommandError(str(error)) from error


def undefined_lines(found: Mapping[str, Json]) -> Iterator[str]:
    """What there is of views that no definition has, a line for each."""
    for view, left in found.items():
        places = [f"{layer}.{view}" for layer in (GOLD, view_tables.HISTORY) if left[layer]]
        places += [] if left["store"] is False else [f"values in the store{'' if left['store'] else ' perhaps'}"]
        option = " --history" if places == [f"{view_tables.HISTORY}.{view}"] else ""
        yield f"No definition has {view}: of it there is {', '.join(places)}; `tailrace features drop {view}{option}` removes it"


def dropped_lines(shown: Json) -> Iterator[str]:
    """What was removed of a view, and what was kept."""
    view, what = shown["view"], []
    if shown["values"] or shown["control_item"]:
        what.append(f"{shown['values']:,} values in the store")
    what += [f"{layer}.{view}" for layer in (GOLD, view_tables.HISTORY) if shown[layer]]
    yield f"Removed of {view}: {', '.join(what) or 'nothing, there was nothing of it'}."
    for table in shown["kept"]:
        yield f"{table} is kept; `tailrace features drop {view} --history` removes it."
