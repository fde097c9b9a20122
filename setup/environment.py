"""The Python environment: `.venv`, with exactly what `requirements.lock` pins and the checkout installed in place."""

import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tailrace.downloads.pins import DownloadError, sha256_of

LOCK = Path("requirements.lock")
UV_LOCK = Path("setup/requirements-uv.lock")
HINT = (
    "See the lines above. Behind a mirror or a proxy set PIP_INDEX_URL, UV_DEFAULT_INDEX, HTTPS_PROXY or "
    "SSL_CERT_FILE as your network wants them, then run `make setup` again."
)


def prepare(checkout: Path, *, work: Path) -> None:
    """Make or renew `.venv` unless its stamp says that it is what the locks describe."""
    venv = checkout / ".venv"
    stamp = venv / "setup.json"
    wanted = describe(checkout)
    found = read_stamp(stamp)
    if found == wanted and (venv / "bin/tailrace").exists():
        return
    # From here on the environment is in no known state. Without its stamp the next run builds it anew.
    stamp.unlink(missing_ok=True)
    if not same_home(found, wanted):
        print(f"Making .venv with Python {wanted['python']}", flush=True)
        run([base_python(), "-m", "venv", "--clear", venv])
    python, uv = venv / "bin/python", checkout / ".tools/uv"
    install_uv(checkout, python=python, uv=uv, work=work)
    install_packages(checkout, python=python, uv=uv)
    finished = work / stamp.name
    finished.write_text(json.dumps(wanted))
    finished.replace(stamp)


def describe(checkout: Path) -> dict[str, str]:
    """Say what makes one environment differ from another: its place, its Python, and what is to be in it."""
    pyproject = tomllib.loads((checkout / "pyproject.toml").read_text())
    return {
        "checkout": str(checkout),
        "python": platform.python_version(),
        "packages": sha256_of(checkout / LOCK),
        "uv": sha256_of(checkout / UV_LOCK),
        "project": json.dumps([pyproject["project"], pyproject["tool"]["hatch"]], sort_keys=True),
    }


def read_stamp(stamp: Path) -> dict[str, str] | None:
    try:
        found: dict[str, str] = json.loads(stamp.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return found


def same_home(found: dict[str, str] | None, wanted: dict[str, str]) -> bool:
    # Scripts name the environment by its full path: a moved checkout needs a new one.
    return found is not None and all(found.get(name) == wanted[name] for name in ("checkout", "python"))


def base_python() -> Path:
    """Return the interpreter that environments are made from, also when this process runs in one."""
    return Path(sys.base_prefix, f"bin/python{sys.version_info.major}.{sys.version_info.minor}")


def install_uv(checkout: Path, *, python: Path, uv: Path, work: Path) -> None:
    """Put the pinned uv at `uv`. pip, which every environment starts with, checks its hash."""
    pinned = re.search(r"^uv==(\S+)", (checkout / UV_LOCK).read_text(), re.MULTILINE)
    if pinned is None:
        raise DownloadError(f"{UV_LOCK} pins no uv. Restore it from version control, or run `make lock` elsewhere.")
    if uv_version(uv) == pinned.group(1):
        return
    print(f"Fetching uv {pinned.group(1)}", flush=True)
    target = work / "uv"
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", "--no-deps", "--only-binary", ":all:", "--target", target, "-r", checkout / UV_LOCK])
    (target / "bin/uv").replace(uv)


def uv_version(uv: Path) -> str | None:
    try:
        answer = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.split()[1]


def install_packages(checkout: Path, *, python: Path, uv: Path) -> None:
    print("Installing the packages of requirements.lock (a minute or two with an empty cache)", flush=True)
    # pyspark and its client are published as source only. What their build needs is held to the same lock.
    locked = ["--require-hashes", "--build-constraints", str(LOCK)]
    wheels_only = ["--only-binary", ":all:", "--no-binary", "pyspark", "--no-binary", "pyspark-client"]
    # Compiled now, once: where nobody may write it later, each start of Python would compile what it imports.
    run([uv, "pip", "sync", "--compile-bytecode", "--python", python, *locked, *wheels_only, LOCK], cwd=checkout)
    from_here = ["--no-index", "--no-deps", "--no-build-isolation", "--editable", "."]
    run([uv, "pip", "install", "--quiet", "--python", python, *from_here], cwd=checkout)


def run(command: list[str | Path], *, cwd: Path | None = None) -> None:
    # Trust the certificates that the machine trusts, as pip and Java do.
    environment = {"UV_SYSTEM_CERTS": "true"} | os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    try:
        subprocess.run(command, cwd=cwd, env=environment, check=True)
    except subprocess.CalledProcessError as error:
        raise DownloadError(f"`{' '.join(map(str, command))}` failed. {HINT}") from error
