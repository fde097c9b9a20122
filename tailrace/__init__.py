"""Tailrace: a feature store for search ranking that ships only what changed.

The names below are the public interface. Each is imported from its module when it is first used:
`import tailrace` costs milliseconds, and loads neither Spark nor the reader.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.client import AsyncClient, Client, ReaderError
    from sinks.data_source import TailraceDataSource
    from tailrace.definitions import (
        BOOL,
        DATE,
        FLOAT32,
        FLOAT64,
        INT64,
        STRING,
        TIMESTAMP,
        Count,
        Delta,
        DerivedSource,
        Distinct,
        Entity,
        EventSource,
        Feature,
        FeatureService,
        FeatureView,
        Field,
        First,
        FirstValue,
        Kafka,
        Landing,
        Last,
        LastValue,
        List,
        Lookup,
        Max,
        Mean,
        Min,
        NewestIs,
        StdDev,
        Sum,
        TableSource,
        Time,
        Type,
        Variance,
        Vector,
        on_demand,
    )
    from tailrace.errors import (
        ConflictError,
        DataError,
        DefinitionError,
        InternalError,
        SetupError,
        TailraceError,
        UnavailableError,
        UsageError,
    )
    from tailrace.schemas.expectations import expect
    from tailrace.settings import Settings, read_settings
    from tailrace.workspace.workspace import Workspace

__all__ = [
    "BOOL",
    "DATE",
    "FLOAT32",
    "FLOAT64",
    "INT64",
    "STRING",
    "TIMESTAMP",
    "AsyncClient",
    "Client",
    "ConflictError",
    "Count",
    "DataError",
    "DefinitionError",
    "Delta",
    "DerivedSource",
    "Distinct",
    "Entity",
    "EventSource",
    "Feature",
    "FeatureService",
    "FeatureView",
    "Field",
    "First",
    "FirstValue",
    "InternalError",
    "Kafka",
    "Landing",
    "Last",
    "LastValue",
    "List",
    "Lookup",
    "Max",
    "Mean",
    "Min",
    "NewestIs",
    "ReaderError",
    "Settings",
    "SetupError",
    "StdDev",
    "Sum",
    "TableSource",
    "TailraceDataSource",
    "TailraceError",
    "Time",
    "Type",
    "UnavailableError",
    "UsageError",
    "Variance",
    "Vector",
    "Workspace",
    "__version__",
    "expect",
    "on_demand",
    "read_settings",
]

_NAMES_OF = {
    "serving.client": ("AsyncClient", "Client", "ReaderError"),
    "sinks.data_source": ("TailraceDataSource",),
    "tailrace.definitions": (
        *("Count", "Distinct", "Entity", "Feature", "FeatureService", "FeatureView", "First", "Last"),
        *("FirstValue", "LastValue", "Max", "Mean", "Min", "NewestIs", "StdDev", "Sum", "Variance"),
        *("Type", "on_demand"),
        *("Delta", "DerivedSource", "EventSource", "Field", "Kafka", "Landing", "Lookup", "TableSource", "Time"),
        *("BOOL", "DATE", "FLOAT32", "FLOAT64", "INT64", "List", "STRING", "TIMESTAMP", "Vector"),
    ),
    "tailrace.errors": (
        *("ConflictError", "DataError", "DefinitionError", "InternalError", "SetupError"),
        *("TailraceError", "UnavailableError", "UsageError"),
    ),
    "tailrace.schemas.expectations": ("expect",),
    "tailrace.settings": ("Settings", "read_settings"),
    "tailrace.workspace.workspace": ("Workspace",),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("tailrace")
    elif name in _MODULE_OF:
        from tailrace.extras import explain_missing

        with explain_missing():
            value = getattr(import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module 'tailrace' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
