"""A git repository of its own for each test that asks."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
SETTINGS |= {"GIT_AUTHOR_NAME": "Ada", "GIT_COMMITTER_NAME": "Bob", "GIT_COMMITTER_EMAIL": "bob@example.org"}


@dataclass(frozen=True)
class Repository:
    path: Path

    def git(self, *arguments: str, **variables: str) -> str:
        command = ["git", *arguments]
        run = subprocess.run(command, cwd=self.path, env=SETTINGS | variables, capture_output=True, check=True)
        return run.stdout.decode().strip()

    def commit(self, *, at: str = "2026-03-01T10:00:00Z", email: str = "ada@example.org") -> str:
        """Commit all that changed, and return the commit's name."""
        self.git("add", "--all")
        said = {"GIT_AUTHOR_EMAIL": email, "GIT_AUTHOR_DATE": "2001-01-01T00:00:00Z", "GIT_COMMITTER_DATE": at}
        self.git("commit", "--allow-empty", "--message", "as told", **said)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    path = tmp_path / "atlas"
    path.mkdir()
    repository = Repository(path)
    repository.git("init", "--quiet", "--initial-branch", "main")
    return repository
