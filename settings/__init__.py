"""Every `TAILRACE_*` variable, read once into frozen dataclasses and passed down."""

from settings.environment import CHECKOUT, SettingsError, read_settings
from settings.kafka import read_properties
from settings.model import (
    AccessLogging,
    AccessSettings,
    IssuerSettings,
    LocalSettings,
    ReaderSettings,
    ScheduleSettings,
    Settings,
    SparkSettings,
    StoreSettings,
    StreamSettings,
    TlsSettings,
    Writes,
)
from settings.submit import check_store_is_reachable, submit_options

__all__ = [
    "CHECKOUT",
    "AccessLogging",
    "AccessSettings",
    "IssuerSettings",
    "LocalSettings",
    "ReaderSettings",
    "ScheduleSettings",
    "Settings",
    "SettingsError",
    "SparkSettings",
    "StoreSettings",
    "StreamSettings",
    "TlsSettings",
    "Writes",
    "check_store_is_reachable",
    "read_properties",
    "read_settings",
    "submit_options",
]
