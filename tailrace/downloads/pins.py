"""Lock files that pin downloads: a name and the SHA-256 of the one file it stands for."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tailrace.errors import SetupError

LOCKS = Path(__file__).with_name("locks")


class DownloadError(SetupError):
    """What the lock files name cannot be fetched; the message says what to do."""


@dataclass(frozen=True)
class Pin:
    """One download: `name` is what its registry calls it."""

    sha256: str
    name: str


def read_pins(lock: Path) -> list[Pin]:
    """Read lines of `<sha256>  <name>`; blank lines and lines that start with `#` say nothing."""
    pins = []
    for line in lock.read_text().splitlines():
        match line.split():
            case [] | ["#", *_]:
                pass
            case [digest, name]:
                pins.append(Pin(digest, name))
            case _:
                raise DownloadError(
                    f"{lock}: {line!r} is not `<sha256>  <name>`. Restore the file from version control."
                )
    return pins


def write_pins(lock: Path, pins: list[Pin]) -> None:
    """Replace the pins in `lock` and keep the comment it opens with."""
    comments = [line for line in lock.read_text().splitlines() if line.startswith("#")]
    lock.write_text("\n".join([*comments, *(f"{pin.sha256}  {pin.name}" for pin in pins), ""]))


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def holds(path: Path, pin: Pin) -> bool:
    """Tell whether `path` is the pinned file, byte for byte."""
    return path.is_file() and sha256(path) == pin.sha256


def require(path: Path, pin: Pin, *, lock: Path) -> None:
    """Raise `DownloadError` unless the download at `path` is the pinned file."""
    if not holds(path, pin):
        raise DownloadError(
            f"{pin.name} was downloaded as {path.name} with SHA-256 {sha256(path)}, but {lock} wants {pin.sha256}. "
            "Nothing was installed. Try again; if it stays so, the registry serves another file than the one pinned."
        )
