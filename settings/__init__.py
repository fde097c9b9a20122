"""Every `TAILRACE_*` variable, read once into frozen dataclasses and passed down."""

from settings.environment import SettingsError, read_settings
from settings.model import Settings, SparkSettings, StoreSettings

__all__ = ["Settings", "SettingsError", "SparkSettings", "StoreSettings", "read_settings"]
