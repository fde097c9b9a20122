"""Every `TAILRACE_*` variable, read once into frozen dataclasses and passed down."""

from settings.environment import SettingsError, read_settings
from settings.model import Settings, SparkSettings, StoreSettings, Writes

__all__ = ["Settings", "SettingsError", "SparkSettings", "StoreSettings", "Writes", "read_settings"]
