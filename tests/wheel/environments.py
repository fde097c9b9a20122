"""The wheel, and environments that hold nothing but it and what one of its extras asks for."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tailrace.settings import CHECKOUT

UV = CHECKOUT / ".tools" / "uv"
MB = 1_000_000


@dataclass(frozen=True)
class Environment:
    """A virtual environment, in which commands know nothing of the checkout."""

    folder: Path

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    @property
    def megabytes(self) -> float:
        """The size of all its packages."""
        return sum(path.stat().st_size for path in self.packages.rglob("*") if path.is_file()) / MB

    def variables(self, **more: str) -> dict[str, str]:
        """The environment variables of its commands."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("TAILRACE_", "PYTHON"))}
        path = os.pathsep.join((str(self.folder / "bin"), os.environ["PATH"]))
        return ours | {"PATH": path, "VIRTUAL_ENV": str(self.folder)} | more

    def run(self, *command, cwd, code=0, **variables):
        """Run a command of the environment, and return its output; `code` is the one that it has to end with."""
        program = str(self.folder / "bin" / command[0])
        done = subprocess.run(
            (program, *map(str, command[1:])),
            cwd=cwd,
            env=self.variables(**variables),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != code:
            pytest.fail(f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        return done.stdout

    def python(self, text, *, cwd, **variables):
        """Run Python statements, and return what they print."""
        return self.run("python", "-c", text, cwd=cwd, **variables)


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout."""
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, extra: str | None, folder: Path) -> Environment:
    """Make an environment of the wheel and one extra, in the locked versions."""
    constraints = folder.with_suffix(".txt")
    pins = (line.removesuffix(" \\") for line in (CHECKOUT / "requirements.lock").read_text().splitlines())
    constraints.write_text("".join(f"{pin}\n" for pin in pins if pin[:1].isalnum() and "==" in pin))
    name = f"tailrace[{extra}]" if extra else "tailrace"
    call(UV, "venv", "--quiet", "--python", sys.executable, str(folder))
    python = str(folder / "bin" / "python")
    # Files are links into uv's cache: quick, and no second copy of them.
    call(
        *(UV, "pip", "install", "--quiet", "--system-certs", "--link-mode", "hardlink", "--python", python),
        *("--constraints", str(constraints), "--build-constraints", str(constraints)),
        f"{name} @ {wheel.as_uri()}",
    )
    return Environment(folder)


def call(*command):
    """Run a command, or fail with its output: an index of packages that is not reached is a failure, not a skip."""
    done = subprocess.run(list(map(str, command)), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


def working_folder() -> Path:
    """A folder on the disk of uv's cache rather than in memory, where links into it can be."""
    folder = CHECKOUT / "var" / f"wheel-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
