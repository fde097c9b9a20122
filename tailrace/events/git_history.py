"""A git history as events: who created, edited or deleted which file, and when."""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from tailrace.events.files import HistoryError
from tailrace.schemas.slots import to_text

EVENT_TYPES = {b"A": "create", b"M": "edit", b"T": "edit", b"D": "delete"}
CHUNK = 1 << 16  # bytes
# Fixed, because a user's settings would otherwise change what is printed: signatures, hidden roots, order files.
LOG = (
    "-c",
    "log.showRoot=true",
    "log",
    "--no-merges",
    "--no-renames",
    "--name-status",
    "-z",
    "--format=%H %ct %ae",
    "--encoding=UTF-8",
    "--no-relative",
    "--no-show-signature",
    "-O/dev/null",
    "HEAD",
    "--",
)


def read_history(repository: Path) -> list[dict[str, Any]]:
    """Read one event per commit and file of HEAD's history, merges left out, sorted by (time, event_id).

    A renamed file is deleted and created. Bytes of a name that are not UTF-8 are written as `\\xff`. Times are the
    committer's; one that no calendar holds stays as git has it, with an `@` before it, for quarantine to count.
    """
    git_dir = _git_dir(repository)
    prefix = repository_name(repository) + ":"
    with tempfile.TemporaryFile() as complaints:
        try:
            with subprocess.Popen(
                _git(git_dir, *LOG), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
            ) as log:
                assert log.stdout is not None
                events = list(_events(_tokens(log.stdout), prefix=prefix))
        except FileNotFoundError as error:
            raise HistoryError(f"{repository}: git is not installed or not on the PATH; install it") from error
        if log.returncode:
            complaints.seek(0)
            raise _failure(repository, git_dir, complaints.read())
    events.sort(key=lambda event: (event["occurred_at"], event["event_id"]))
    return events


def repository_name(repository: Path) -> str:
    """The name of a repository's folder, a bare one without its `.git`."""
    folder = repository.resolve()
    return _printable(os.fsencode(folder.name.removesuffix(".git") or folder.parent.name))


def _git_dir(repository: Path) -> Path:
    inside = repository / ".git"
    if inside.exists():
        return inside
    if (repository / "HEAD").is_file() and (repository / "objects").is_dir():
        return repository
    raise HistoryError(f"{repository}: not a git repository; give the folder that holds .git, or a bare repository")


def _git(git_dir: Path, *arguments: str) -> list[str]:
    # After the = a path is not read as an option, and it wins over a GIT_DIR in the environment.
    return ["git", "--no-pager", f"--git-dir={git_dir}", *arguments]


def _failure(repository: Path, git_dir: Path, complaints: bytes) -> HistoryError:
    command = _git(git_dir, "rev-parse", "--quiet", "--verify", "HEAD")
    head = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if head.returncode == 1:
        return HistoryError(f"{repository}: no commits yet; commit something, or give another repository")
    complaint = "; ".join(complaints.decode(errors="replace").splitlines())
    return HistoryError(f"{repository}: git cannot read its history ({complaint}); repair it, or clone it again")


def _tokens(output: IO[bytes]) -> Iterator[bytes]:
    """What stands between NUL bytes, read piece by piece; a cut-off end is left out."""
    rest = b""
    while chunk := output.read(CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole


def _events(tokens: Iterator[bytes], *, prefix: str) -> Iterator[dict[str, Any]]:
    # A commit's header comes first, then status and path of each of its files. A path follows its status and is
    # never looked at as anything else, so a file may be named like a header.
    commit, actor, occurred_at = b"", "", ""
    for token in tokens:
        status = token.lstrip(b"\n")  # git puts a line feed between a header and its first status
        if status not in EVENT_TYPES:
            commit, seconds, email = status.split(b" ", 2)
            actor, occurred_at = _actor_id(email), _committed_at(seconds)
        elif (path := next(tokens, None)) is not None:
            yield {
                "event_id": hashlib.sha256(b"\0".join((commit, status, path))).hexdigest()[:20],
                "event_type": EVENT_TYPES[status],
                "actor_id": actor,
                "document_id": prefix + _printable(path),
                "occurred_at": occurred_at,
                "source": "git",
            }


def _actor_id(email: bytes) -> str:
    lowered = email.decode(errors="surrogateescape").lower().encode(errors="surrogateescape")
    return "u" + hashlib.sha256(lowered).hexdigest()[:10]


def _committed_at(seconds: bytes) -> str:
    try:
        return to_text(datetime.fromtimestamp(int(seconds), UTC))
    except (ValueError, OverflowError, OSError):
        return "@" + _printable(seconds)


def _printable(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
