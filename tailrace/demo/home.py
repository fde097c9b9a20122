"""The home a demo runs in: its own, recognised by a marker, or an empty one."""

import shutil
from pathlib import Path

from tailrace.errors import CommandError
from tailrace.settings import Settings
from tailrace.store import embedded

MARKER = ".tailrace-demo"
STATE = ("landing", "lake", "store", "direct-log", "stream", "demo")


def empty_home(settings: Settings) -> None:
    """Empty a home that carries the demo's marker, or mark one that holds nothing; refuse any other."""
    home = settings.home.resolve()
    refuse_elsewhere(settings, home)
    marker = home / MARKER
    state = [*(home / name for name in STATE), Path(settings.landing).resolve(), Path(settings.lake).resolve()]
    held = [str(place.relative_to(home)) for place in dict.fromkeys(state) if holds_something(place)]
    if held and not marker.exists():
        raise CommandError(
            f"{home} holds {', '.join(held)} that are not the demo's; "
            "give the demo a home of its own, such as TAILRACE_HOME=demo-home"
        )
    embedded.stop(settings)
    home.mkdir(parents=True, exist_ok=True)
    marker.write_text("The demo empties this folder when it runs again.\n")
    for place in state:
        shutil.rmtree(place, ignore_errors=True)


def refuse_elsewhere(settings: Settings, home: Path) -> None:
    """The demo empties all that it works on, so that must lie in its home."""
    for name, place in (("TAILRACE_LANDING", settings.landing), ("TAILRACE_LAKE", settings.lake)):
        if home not in Path(place).resolve().parents:
            raise CommandError(f"{name} is {place}, outside {home}; unset it for the demo, which runs in its home")
    if settings.store.url:
        raise CommandError(f"TAILRACE_STORE_URL is {settings.store.url}; unset it for the demo, which runs in its home")


def holds_something(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
