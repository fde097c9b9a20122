"""Folders and files of lake and landing, local or of any file system that Spark takes."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import SparkSession

from tailrace.lake.session import java_class
from tailrace.schemas.slots import EARLIEST, EPOCH, LATEST

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
PATH = "org.apache.hadoop.fs.Path"
IO_UTILS = "org.apache.commons.io.IOUtils"
CODECS = "org.apache.hadoop.io.compress.CompressionCodecFactory"
REMOTE_ITERATORS = "org.apache.hadoop.util.functional.RemoteIterators"
COLLECTION_CONVERTERS = "scala.jdk.javaapi.CollectionConverters"
LOCAL = "file"
SEPARATOR = "\0"  # no file's name holds it

# How Hadoop's FileStatus writes itself; a name may hold anything, so the last match counts.
STATUS = re.compile(
    r"\w+\{path=(?P<path>.*); isDirectory=false; length=(?P<bytes>\d+); .*?modification_time=(?P<modified>-?\d+);.*",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file below a folder; `name` is its path inside that folder, `path` its full one.

    `refusal` says why it must not be opened, None where it may; `link_to` is the name of the file inside the folder that
    a link leads to.
    """

    name: str
    path: str
    bytes: int
    modified_at: datetime
    refusal: str | None = None
    link_to: str | None = None

    @property
    def pattern(self) -> str:
        """The path as Spark's readers take it: they expand patterns, so characters that have a meaning there are escaped."""
        return re.sub(r"([\\*?\[\]{}])", r"\\\1", self.path)


def moment_of(milliseconds: int) -> datetime:
    """The moment so many milliseconds after 1970, or before it, brought between 1900 and 2200.

    File systems keep times that neither Python nor a table can.
    """
    first, last = ((bound - EPOCH) // timedelta(milliseconds=1) for bound in (EARLIEST, LATEST))
    return EPOCH + timedelta(milliseconds=min(max(milliseconds, first), last))


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
    # Names that are UTF-8 come first: of two that look the same, the odd one is to be distinguished.
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
        modified_at=moment_of(status.st_mtime_ns // 1_000_000 if status else 0),
        refusal=refusal or (None if is_utf8 else NOT_UTF8),
        link_to=link_to,
    )


def printable(name: bytes) -> str:
    """A name as text; bytes that are not UTF-8 are written as `\\xe9`."""
    return name.decode("utf-8", "backslashreplace")


def list_files(spark: SparkSession, folder: str) -> list[StoredFile]:
    """Every file below a folder, at any depth; none where the folder does not exist."""
    root, system = _resolve(spark, folder)
    root = system.makeQualified(root)
    if system.getScheme() == LOCAL:
        return walk(root.toUri().getPath())
    if not system.exists(root):
        return []
    # One answer with all of them, where a question for each property of each file would grow with what landed; object
    # stores list a whole tree at once.
    found = java_class(spark, REMOTE_ITERATORS).toList(system.listFiles(root, True))
    listing = java_class(spark, COLLECTION_CONVERTERS).asScala(found).mkString(SEPARATOR)
    prefix = root.toString()
    return [_stored_file(status, prefix) for status in listing.split(SEPARATOR) if status]


def _stored_file(status: str, root: str) -> StoredFile:
    matched = STATUS.fullmatch(status)
    if matched is None:
        raise ValueError(f"Hadoop describes a file in a way that is not known here: {status}")
    return StoredFile(
        name=matched["path"].removeprefix(root).lstrip("/"),
        path=matched["path"],
        bytes=int(matched["bytes"]),
        modified_at=moment_of(int(matched["modified"])),
    )


def reported_path(spark: SparkSession, file: StoredFile) -> str:
    """What Spark reports of a file in `_metadata.file_path`, less scheme and host."""
    return str(java_class(spark, PATH)(file.path).toUri().getRawPath())


def sha256(spark: SparkSession, path: str) -> str:
    """The digest of a file's bytes, in hexadecimal."""
    with _closing(_open(spark, path)) as stream:
        return str(java_class(spark, "org.apache.commons.codec.digest.DigestUtils").sha256Hex(stream))


def head(spark: SparkSession, path: str, *, size: int) -> bytes:
    """The first bytes of a file as they are stored."""
    with _closing(_open(spark, path)) as stream:
        return bytes(stream.readNBytes(size))


def unpack(spark: SparkSession, path: str, *, size: int) -> bytes:
    """The first bytes of a packed file's content, which is unpacked to its end by the codec that Spark takes for its name.

    Raises what Java raises where the file is damaged.
    """
    codecs = java_class(spark, CODECS)(spark._jsc.hadoopConfiguration())
    codec = codecs.getCodec(java_class(spark, PATH)(path))
    with _closing(_open(spark, path)) as stream, _closing(codec.createInputStream(stream)) as unpacked:
        first = bytes(unpacked.readNBytes(size))
        java_class(spark, IO_UTILS).consume(unpacked)
        return first


def read_text(spark: SparkSession, path: str) -> str | None:
    """A whole small file as text; None where there is none."""
    resolved, system = _resolve(spark, path)
    if not system.exists(resolved):
        return None
    stream = system.open(resolved)
    try:
        return str(java_class(spark, IO_UTILS).toString(stream, "UTF-8"))
    finally:
        stream.close()


def opens_any_name(spark: SparkSession, path: str) -> bool:
    """Whether Java opens files of names beyond ASCII, which for local ones its locale decides."""
    encoding = java_class(spark, "java.lang.System").getProperty("sun.jnu.encoding")
    return not path.startswith(f"{LOCAL}:") or encoding == "UTF-8"


def is_there(spark: SparkSession, path: str) -> bool:
    """Whether there is a file or a folder at a path."""
    resolved, system = _resolve(spark, path)
    return bool(system.exists(resolved))


def folders_in(spark: SparkSession, folder: str) -> list[str]:
    """The names of the folders directly in a folder; none where it does not exist."""
    resolved, system = _resolve(spark, folder)
    if not system.exists(resolved):
        return []
    return sorted(str(one.getPath().getName()) for one in system.listStatus(resolved) if one.isDirectory())


def exists(spark: SparkSession, folder: str, file: str) -> bool:
    """Whether a file is there whose path below the folder, or whole, is given as a URI, as Delta's log does."""
    resolved, system = _resolve_uri(spark, folder, file)
    return bool(system.exists(resolved))


def modified_at(spark: SparkSession, folder: str, file: str) -> datetime | None:
    """When a file was written, given as for `exists`; None where there is none."""
    resolved, system = _resolve_uri(spark, folder, file)
    if not system.exists(resolved):
        return None
    return datetime.fromtimestamp(system.getFileStatus(resolved).getModificationTime() / 1000, UTC)


def files_and_bytes(spark: SparkSession, folder: str) -> tuple[int, int]:
    """How many files lie below a folder, at any depth, and their bytes."""
    resolved, system = _resolve(spark, folder)
    summary = system.getContentSummary(resolved)
    return int(summary.getFileCount()), int(summary.getLength())


def delete(spark: SparkSession, folder: str) -> None:
    """Remove a folder and all that lies in it, if it is there."""
    resolved, system = _resolve(spark, folder)
    system.delete(resolved, True)


@contextmanager
def _closing(stream: Any) -> Iterator[Any]:
    try:
        yield stream
    finally:
        stream.close()


def _open(spark: SparkSession, path: str) -> Any:
    resolved, system = _resolve(spark, path)
    return system.open(resolved)


def _resolve(spark: SparkSession, path: str) -> tuple[Any, Any]:
    resolved = java_class(spark, PATH)(path)
    return resolved, resolved.getFileSystem(spark._jsc.hadoopConfiguration())


def _resolve_uri(spark: SparkSession, folder: str, file: str) -> tuple[Any, Any]:
    path = java_class(spark, PATH)
    name = path(java_class(spark, "java.net.URI")(file))
    resolved, system = _resolve(spark, folder)
    return path(resolved, name), system
