"""What lies below a local folder: each real file once, and by name whatever else must not be opened.

Hadoop's listing follows links in circles, waits for pipes, and leaves out without a word what it cannot name or look up.
Names are handled as the bytes that they are, in any locale.
"""

import os
import stat
from collections.abc import Iterator

from tailrace.lake.stored import StoredFile, time_of

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
NOT_A_FILE = "this is {}, from which nothing is read; land a file"
NOT_UTF8 = "the file's name is not UTF-8; land it under another name"
NOWHERE = "this link leads to nothing that can be opened ({}); land the file itself"
TO_FOLDER = "this link leads to a folder, which is not entered; land the files themselves"
OUT = "the file leads out of the landing folder; land the file itself"
CLOSED = "the {} cannot be opened ({}); let the user who runs Tailrace read it"
NO_FOLDER = "this is a file where a folder of files is expected; land it inside a folder of that name"


def walk(folder: str) -> list[StoredFile]:
    """Every file below a local folder, at any depth; none where the folder does not exist.

    Folders that a link leads to are not entered. What is not a file, or must not be opened, has its `refusal`.
    """
    root = os.fsencode(folder)
    if not os.path.lexists(root):
        return []
    if not os.path.isdir(root):
        return [described(root, os.path.basename(root), os.lstat(root), refusal=NO_FOLDER)]
    found: dict[str, StoredFile] = {}
    # Names that are UTF-8 come first: of two that look the same, the odd one is to be told apart.
    for file in sorted(entries(root), key=lambda file: file.refusal == NOT_UTF8):
        name = file.name
        while name in found:
            name += "?"
        found[name] = file if name == file.name else StoredFile(**(vars(file) | {"name": name}))
    return list(found.values())


def entries(root: bytes) -> Iterator[StoredFile]:
    """The files and oddities below a folder, in no order."""
    real_root = os.path.realpath(root)
    left = [b""]
    while left:
        below = left.pop()
        try:
            with os.scandir(os.path.join(root, below)) as listed:
                children = list(listed)
        except FileNotFoundError:
            continue  # gone since its parent was listed
        except OSError as error:
            name = below or os.path.basename(root)
            yield described(root, name, None, refusal=CLOSED.format("folder", error.strerror))
            continue
        for child in children:
            name = os.path.join(below, child.name)
            if child.is_dir(follow_symlinks=False):
                left.append(name)
                continue
            try:
                yield looked_at(root, real_root, name, child)
            except FileNotFoundError:
                continue  # gone since its folder was listed


def looked_at(root: bytes, real_root: bytes, name: bytes, entry: os.DirEntry[bytes]) -> StoredFile:
    """One entry that is not a folder itself; raises `FileNotFoundError` where it is gone."""
    own, link_to = entry.stat(follow_symlinks=False), None
    status, refusal = own, None
    if stat.S_ISLNK(own.st_mode):
        try:
            status = entry.stat()
        except OSError as error:
            return described(root, name, own, refusal=NOWHERE.format(error.strerror))
        real = os.path.realpath(entry.path)
        if stat.S_ISDIR(status.st_mode):
            refusal = TO_FOLDER
        elif not real.startswith(os.path.join(real_root, b"")):
            refusal = OUT
        else:
            link_to = printable(real[len(real_root) + 1 :])
    if not (stat.S_ISREG(status.st_mode) or refusal):
        refusal = NOT_A_FILE.format(KINDS.get(stat.S_IFMT(status.st_mode), "no file"))
    if refusal is None and not os.access(entry.path, os.R_OK):
        refusal = CLOSED.format("file", "permission denied")
    return described(root, name, status, refusal=refusal, link_to=link_to)


def described(
    root: bytes, name: bytes, status: os.stat_result | None, *, refusal: str | None, link_to: str | None = None
) -> StoredFile:
    is_utf8 = printable(name).encode() == name
    return StoredFile(
        name=printable(name),
        path=f"file:{printable(os.path.join(root, name))}",
        bytes=status.st_size if status else 0,
        modified_at=time_of(status.st_mtime_ns // 1_000_000 if status else 0),
        refusal=refusal or (None if is_utf8 else NOT_UTF8),
        link_to=link_to,
    )


def printable(name: bytes) -> str:
    """A name as text; bytes that are not UTF-8 are written as `\\xe9`."""
    return name.decode("utf-8", "backslashreplace")
