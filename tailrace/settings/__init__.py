"""Every `TAILRACE_*` variable, read once into frozen dataclasses and passed down."""

from tailrace.settings.environment import CHECKOUT, SettingsError, read_settings
from tailrace.settings.kafka import read_properties
from tailrace.settings.model import (
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
from tailrace.settings.submit import check_store_is_reachable, submit_options

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
