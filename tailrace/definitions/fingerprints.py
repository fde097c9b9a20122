"""Fingerprints of views: digests of what was declared, which no refactoring changes.

A description is as plain as JSON: texts, numbers, lists, and mappings whose order does not count. What is empty, or what it
is by default, is left out, so a new optional field changes no fingerprint.
`tests/tailrace/definitions/fingerprints.json` pins those of the shipped views and of every kind of aggregation.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailrace.definitions.own_modules import source_of
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Column

if TYPE_CHECKING:
    from tailrace.definitions.aggregations.aggregation import Aggregation
    from tailrace.definitions.view import FeatureView

FORMAT = 1  # of descriptions; after another number every view is computed in full once
PRODUCT = f"{__package__}."

Plain = Any  # None, a truth value, a number or a text, or a list or mapping of these


def schema_fingerprint(features: tuple[Column, ...]) -> str:
    """16 hex digits of names, order and types; packed values have it in their header."""
    return digest("\n".join(f"{feature.name} {feature.type}" for feature in features))


def definition_fingerprint(view: "FeatureView") -> str:
    """16 hex digits that change when gold would have other rows for the same inputs."""
    return digest(json.dumps(description(view), sort_keys=True, separators=(",", ":")))


def digest(text: str) -> str:
    """16 hex digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def description(view: "FeatureView") -> dict[str, Plain]:
    """What decides the rows of a view's gold: its keys, its features and how they are computed."""
    parts = {
        "keys": list(view.keys),
        "features": [[feature.name, str(feature.type)] for feature in view.features],
        "aggregations": [description_of_line(line) for line in view.aggregations],
        "transform": plain(view.transform, of=f"view {view.name!r}, field 'transform'"),
    }
    return {"format": FORMAT} | {name: part for name, part in parts.items() if part}


def description_of_line(line: "Aggregation") -> list[Plain]:
    """The kind of an aggregation and its options; for a project's own also its SQL, which may change in a refactoring."""
    here = f"feature {line.name!r}"
    kind_and_options: list[Plain] = plain(line, of=here)
    is_own = not type(line).__module__.startswith(PRODUCT)
    return [*kind_and_options, plain(line.columns, of=here)] if is_own else kind_and_options


def plain(value: object, *, of: str) -> Plain:
    """A declared value as JSON has it; raises `DefinitionError` for one that has no such form."""
    if isinstance(value, list | tuple):
        return [plain(one, of=of) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(one, of=of) for one in value), key=json.dumps)
    if isinstance(value, Mapping):
        return {str(name): plain(one, of=of) for name, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        options = {field.name: getattr(value, field.name) for field in fields(value) if not is_default(field, value)}
        return [type(value).__name__, {name: plain(one, of=f"{of}, field {name!r}") for name, one in options.items()}]
    return plain_scalar(value, of=of)


def plain_scalar(value: object, *, of: str) -> Plain:
    """The same of a value that holds no others."""
    if isinstance(value, str):
        return str.__str__(value)  # without what an enumeration would add
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Decimal | date):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if inspect.isfunction(value):
        return description_of_function(value)
    raise DefinitionError(
        f"{of}: a {type(value).__name__} has no form that is the same in every process; give texts, numbers, times, "
        "collections of these, functions or dataclasses"
    )


def is_default(field: "Field[Any]", value: object) -> bool:
    """Whether a field has the value that it has where none is given."""
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return default is not MISSING and bool(getattr(value, field.name) == default)


def description_of_function(function: Callable[..., Any]) -> list[str]:
    """The name of a function, and the syntax of its file and of the modules of its folder that the file imports."""
    file = inspect.getsourcefile(function)
    return [function.__qualname__, source_of(Path(file)).decode() if file else ""]


def former_definition_fingerprint(view: "FeatureView") -> str:
    """The fingerprint that 0.1 gave this definition: homes that have it go on without a full computation.

    Kept for one minor version.
    """
    declared = repr((view.keys, view.features, view.aggregations))
    own = [line.columns for line in view.aggregations if not type(line).__module__.startswith(PRODUCT)]
    declared += repr(own) if own else ""
    file = inspect.getsourcefile(view.transform) if view.transform else None
    return digest(declared + (source_of(Path(file)).decode() if file else ""))
