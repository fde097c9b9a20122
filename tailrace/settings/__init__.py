"""Every `TAILRACE_*` variable, read once into frozen dataclasses and passed down."""

from tailrace.settings.environment import SettingsError, read_settings
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
from tailrace.settings.options import check_store_is_reachable, read_properties, submit_options
from tailrace.settings.places import CHECKOUT, in_checkout, set_up_command
from tailrace.settings.project import with_project

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
    "in_checkout",
    "read_properties",
    "read_settings",
    "set_up_command",
    "submit_options",
    "with_project",
]
