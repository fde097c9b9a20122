"""Where the JARs and the store's program are: in a checkout's `.tools`, or in a cache for an installed package."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

# The checkout, or the folder that packages are installed in.
CHECKOUT = Path(__file__).resolve().parents[2]


def in_checkout() -> bool:
    """Whether this code runs from a checkout, whose `.tools` are made by `make setup`."""
    return (CHECKOUT / "setup" / "environment.py").is_file()


def tools_folder(environment: Mapping[str, str]) -> Path:
    """The folder of JARs and of the store's program; each version has one of its own, as each pins its own downloads."""
    if in_checkout():
        return CHECKOUT / ".tools"
    cache = environment.get("XDG_CACHE_HOME")
    root = Path(cache) if cache else Path.home() / ".cache"
    return root / "tailrace" / version("tailrace")


def set_up_command(*, stream: bool = False) -> str:
    """The command that fills the folder, for messages; with `stream` Kafka's JARs too."""
    if in_checkout():
        return "make setup"
    return "tailrace setup --stream" if stream else "tailrace setup"
