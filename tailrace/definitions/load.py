"""Find every definition in the folders that `TAILRACE_FEATURES` names, and check them together."""

import hashlib
import importlib
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from tailrace.definitions.declared_source import DeclaredSource
from tailrace.definitions.definitions import Definitions, check_together, naming
from tailrace.definitions.derived_source import DerivedSource, Source
from tailrace.definitions.fingerprints import own_modules
from tailrace.definitions.own_folder import PREFIX, import_file, importable, refuse_late_imports
from tailrace.definitions.services import FeatureService, OnDemandFeature
from tailrace.definitions.stream_view import FinestView, StreamView, finest_view
from tailrace.definitions.view import FeatureView
from tailrace.errors import DefinitionError

SHIPPED = "shipped"
SHIPPED_FOLDER = Path(__file__).resolve().parent.parent / SHIPPED
SHIPPED_PACKAGE = f"tailrace.{SHIPPED}"

Definition = TypeVar("Definition", FeatureView, OnDemandFeature, FeatureService, DeclaredSource, DerivedSource)


def load_definitions(folders: Collection[str] = (SHIPPED,)) -> Definitions:
    """Load the definitions of several folders, `shipped` standing for the ones in this package.

    Raises `DefinitionError` naming the file, the view and the field where one cannot be used.
    """
    fingerprint = fingerprint_of(folders)
    modules = [module for folder in folders for module in modules_of(folder)]
    files: dict[int, str | None] = {}
    views = by_name(FeatureView, modules, files)
    on_demand = by_name(OnDemandFeature, modules, files)
    services = by_name(FeatureService, modules, files)
    landing, derived = by_name(DeclaredSource, modules, files), by_name(DerivedSource, modules, files)
    declared: tuple[Source, ...] = (*landing.values(), *derived.values())
    if not views:
        where = ", ".join(folders) or "TAILRACE_FEATURES, which names no folder"
        raise DefinitionError(f"no feature view in {where}; write one in a file there, as `tailrace init` does")
    for source in declared:
        with naming(files[id(source)], f"source {source.name!r}"):
            source.check()
    for view in views.values():
        with naming(files[id(view)], f"view {view.name!r}"):
            view.check(views)
    check_together(Definitions(views=views, on_demand={}, services={}, declared=declared), files)
    finest = finest_of(views, files)
    for view in views.values():
        for name in view.windows.keys() & on_demand.keys():
            raise DefinitionError(f"{files[id(view)]}: view {view.name!r}: there is another on-demand feature {name!r}")
        on_demand |= view.windows
        files |= {id(window): files[id(view)] for window in view.windows.values()}
    for feature in on_demand.values():
        with naming(files[id(feature)], f"on-demand feature {feature.name!r}"):
            feature.check(views)
    for service in services.values():
        with naming(files[id(service)], f"service {service.name!r}"):
            service.check(views, on_demand)
    return Definitions(
        views=base_views_first(views),
        on_demand=on_demand,
        services=services,
        declared=declared,
        finest=finest,
        files=with_own_modules(fingerprint, folders),
    )


def load_anew(folders: Collection[str] = (SHIPPED,)) -> Definitions:
    """Load definitions whose files may have changed since this process loaded them.

    Raises `DefinitionError` as `load_definitions` does; what was loaded before stays in use then.
    """
    before = {name: module for name, module in sys.modules.items() if is_definition(name)}
    files = {file.resolve() for folder in folders for file in files_of(folder)} | own_modules_of(folders)
    before |= loaded_from(files)
    forget(before)
    importlib.invalidate_caches()  # a file that is new in a folder that was already looked at
    try:
        return load_definitions(folders)
    except DefinitionError:
        forget({name for name in sys.modules if is_definition(name)} | loaded_from(files).keys())
        bring_back(before)
        raise


def forget(names: Iterable[str]) -> None:
    """Have modules run again when they are imported, those too that packages which stay have as attributes."""
    for name in names:
        del sys.modules[name]
        package, _, own_name = name.rpartition(".")
        if package in sys.modules:
            vars(sys.modules[package]).pop(own_name, None)


def bring_back(modules: dict[str, ModuleType]) -> None:
    """Have modules imported again that were forgotten."""
    sys.modules.update(modules)
    for name, module in modules.items():
        package, _, own_name = name.rpartition(".")
        if package in sys.modules:
            setattr(sys.modules[package], own_name, module)


def loaded_from(files: Collection[Path]) -> dict[str, ModuleType]:
    """The modules that were loaded from these files, by name."""
    names = {file.name for file in files}
    loaded = ((name, module, getattr(module, "__file__", None) or "") for name, module in [*sys.modules.items()])
    return {name: module for name, module, file in loaded if Path(file).name in names and Path(file).resolve() in files}


def is_definition(module: str) -> bool:
    """Whether a module is one of the files that define features, shipped or a user's."""
    return module.startswith((f"{SHIPPED_PACKAGE}.", PREFIX))


def fingerprint_of(folders: Iterable[str]) -> str:
    """16 hex digits that change when a file does, or its name."""
    hashed = hashlib.sha256()
    for file in (file for folder in folders for file in files_of(folder)):
        with importing(file):
            content = file.read_bytes()
        hashed.update(f"{file.name} {len(content)} ".encode() + content)
    return hashed.hexdigest()[:16]


def with_own_modules(fingerprint: str, folders: Iterable[str]) -> str:
    """The fingerprint of definition files, and of the modules that they import from their folders if there are any."""
    files = {file.resolve() for folder in folders for file in files_of(folder)}
    modules = sorted(own_modules_of(folders) - files)
    if not modules:
        return fingerprint
    hashed = hashlib.sha256(fingerprint.encode())
    for module in modules:
        with importing(module):
            content = module.read_bytes()
        hashed.update(f"{module.name} {len(content)} ".encode() + content)
    return hashed.hexdigest()[:16]


def own_modules_of(folders: Iterable[str]) -> set[Path]:
    """The modules that definition files import from their folders, definition files among them."""
    return {module for folder in folders for file in files_of(folder) for module in own_modules(file)}


def files_of(folder: str) -> list[Path]:
    """The definition files of a folder; raises `DefinitionError` if it is not one."""
    path = SHIPPED_FOLDER if folder == SHIPPED else Path(folder).expanduser()
    if not path.is_dir():
        raise DefinitionError(f"TAILRACE_FEATURES names {folder!r}, which is not a folder")
    return [file for file in sorted(path.glob("*.py")) if not file.name.startswith("_")]


def modules_of(folder: str) -> list[ModuleType]:
    """The modules of a folder's definition files, imported."""
    return shipped_modules() if folder == SHIPPED else modules_in(Path(folder).expanduser().resolve(), files_of(folder))


def shipped_modules() -> list[ModuleType]:
    """The modules of the definitions in this package."""
    modules = []
    for file in files_of(SHIPPED):
        with importing(file):
            modules.append(importlib.import_module(f"{SHIPPED_PACKAGE}.{file.stem}"))
    return modules


def modules_in(folder: Path, files: Iterable[Path]) -> list[ModuleType]:
    """The modules of definition files of a folder, which may import each other."""
    modules = []
    with importable(folder):
        for file in files:
            with importing(file.resolve()):
                modules.append(import_file(file.resolve()))
                refuse_late_imports(file.resolve())
    return modules


@contextmanager
def importing(file: Path) -> Iterator[None]:
    """Name the file in whatever goes wrong while it runs."""
    try:
        yield
    except DefinitionError as error:
        raise DefinitionError(f"{file}: {error}") from error
    except ModuleNotFoundError as error:
        raise DefinitionError(
            f"{file}: ModuleNotFoundError: {error}; write a module of your own next to this file, and install others"
        ) from error
    except Exception as error:
        raise DefinitionError(f"{file}: {type(error).__name__}: {error}") from error


def by_name(
    kind: type[Definition], modules: Iterable[ModuleType], files: dict[int, str | None]
) -> dict[str, Definition]:
    """Collect one kind of definition, and in `files` where each stands; one imported by two files counts once."""
    found: dict[str, Definition] = {}
    for module in modules:
        for value in vars(module).values():
            if not isinstance(value, kind):
                continue
            first = found.setdefault(value.name, value)
            files.setdefault(id(value), module.__file__)
            if first is not value:
                raise DefinitionError(
                    f"{value.name!r} is defined in {files[id(first)]} and again in {module.__file__}; name one otherwise, or "
                    "import it from the other file"
                )
    return dict(sorted(found.items()))


def finest_of(views: dict[str, FeatureView], files: dict[int, str | None]) -> FinestView | None:
    """The view by which the stream counts, which takes the place of the declared one where there is such a view."""
    streamed = [view for view in views.values() if isinstance(view, StreamView)]
    if not streamed:
        return None
    with naming(files[id(streamed[0])], f"view {streamed[0].name!r}"):
        finest = finest_view(streamed)
    if finest and finest.is_declared:
        files[id(finest)] = files[id(views[finest.name])]
        views[finest.name] = finest
    elif finest and finest.name in views:
        raise DefinitionError(
            f"{files[id(views[finest.name])]}: view {finest.name!r}: the stream keeps a view of that name; choose another"
        )
    return finest


def base_views_first(views: dict[str, FeatureView]) -> dict[str, FeatureView]:
    """Views in an order in which each comes after its base views."""
    order = TopologicalSorter({name: view.base_views for name, view in views.items()}).static_order()
    return {name: views[name] for name in order}
