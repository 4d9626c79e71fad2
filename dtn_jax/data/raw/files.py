"""Which raw files an input names, here or at any fsspec address, and how one is opened."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import os
import pathlib
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from dtn_jax.data.schemas.spec import FORMATS
from dtn_jax.errors import UserError, choose
from dtn_jax.files import sha256

SUFFIXES = {  # format of a file whose name ends so
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
ENDS = 64 << 10  # bytes of each end of a long file that are hashed
PACKED = ".gz"  # may follow the suffix of a text file
FILE = "_file"  # a column that every raw file has: its own name, without the folders
REMOTE = "pip install -e '.[remote]', and the package of the file system (s3fs, gcsfs, …)"
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # Spark's and Hive's name for a missing partition value


@dataclasses.dataclass(frozen=True)
class RawFile:
    """A raw file.

    Attributes:
      address: its path, or its fsspec address.
      format: one of FORMATS.
      size: bytes.
      constants: columns whose one value its path gives, as (name, text): `day=2026-01-01/` between
        the input's folder and the file. None is a missing value.
    """

    address: str
    format: str
    size: int
    constants: tuple[tuple[str, str | None], ...] = ()

    @property
    def name(self) -> str:
        """Its name, without the folders."""
        return self.address.rsplit("/", 1)[-1]

    @property
    def packed(self) -> bool:
        """Whether it is a gzip file."""
        return self.address.lower().endswith(PACKED)


def find(inputs: Sequence[str], format: str = "") -> list[RawFile]:
    """The raw files that the inputs name, sorted by address, each once.

    Args:
      inputs: files, globs (`logs/*.parquet`; `**` for folders at any depth) and folders (all files
        below with a known suffix); local ones, or fsspec addresses such as `s3://bucket/logs`.
        Names that begin with `_` or `.` are skipped, unless an input is that very file.
      format: one of FORMATS, for files and globs whatever their suffixes; '' goes by the suffix.

    Raises:
      UserError: nothing is found, a suffix is unknown, or the files have several formats.
    """
    if format:
        choose("format of the input", format, FORMATS)
    if not inputs:
        raise UserError("no input is given; expected files, globs or folders")
    known = {}
    for given in inputs:
        with _told(given):
            matches = _remote(given) if is_remote(given) else _local(given)
            files = [_file(*match, format) for match in matches]
        if not any(file.format for file in files):
            raise UserError(
                f"no raw files at {given!r}; expected a file, a glob, or a folder with files whose "
                f"names end in {' '.join(s for s, f in SUFFIXES.items() if format in ('', f))}"
            )
        for file in files:
            remote = is_remote(file.address)  # a set is known by its address, from any folder
            address = file.address if remote else os.path.abspath(file.address)
            known.setdefault(address, dataclasses.replace(file, address=address))
    _tell_skipped([file.address for file in known.values() if not file.format])
    files = [file for file in known.values() if file.format]
    files.sort(key=lambda file: file.address)
    examples = {file.format: file.address for file in reversed(files)}
    if len(examples) > 1:
        listed = ", ".join(f"{name} ({examples[name]})" for name in sorted(examples))
        raise UserError(
            f"the input has files of several formats: {listed}; give one format at a time"
        )
    return files


def format_of(address: str) -> str:
    """The format that a file's suffix says; '' where it says none."""
    stem, suffix = os.path.splitext(address.lower())
    if suffix == PACKED:
        packed = SUFFIXES.get(os.path.splitext(stem)[1], "")
        return packed if packed in ("csv", "jsonl") else ""
    return SUFFIXES.get(suffix, "")


def is_remote(address: str) -> bool:
    """Whether fsspec is needed for it."""
    return "://" in address and not address.startswith("file://")


def local_path(address: str) -> str:
    """The path of a local address."""
    return os.path.normpath(os.path.expanduser(address.removeprefix("file://")))


def open_file(address: str, mapped: bool = True) -> pa.NativeFile:
    """A seekable file to read.

    Args:
      address: a path, or an fsspec address.
      mapped: a local file is memory-mapped. What reads a file once from front to back does without:
        mapped pages count as the process's memory.
    """
    with _told(address):
        if not is_remote(address):
            path = local_path(address)
            return pa.memory_map(path, "r") if mapped else pa.OSFile(path, "r")
        system, path = _filesystem(address)
        # Without a cache: pyarrow and the readers of lines ask for large pieces themselves.
        return pa.PythonFile(system.open(path, "rb", cache_type="none"), mode="r")


def size(address: str) -> int:
    """Bytes of a file, as it is now."""
    with open_file(address, mapped=False) as file:
        return file.size()


def ends(address: str) -> str:
    """SHA-256 of a file's first and last ENDS bytes: cheap at any size, and shows most edits."""
    with open_file(address) as file:
        digest = hashlib.sha256(file.read(ENDS))
        file.seek(max(0, file.size() - ENDS))
        digest.update(file.read(ENDS))
        return digest.hexdigest()


def modified(address: str) -> int:
    """When a file was last written, in nanoseconds; 0 of a remote one, which does not say."""
    return 0 if is_remote(address) else os.stat(local_path(address)).st_mtime_ns


def content(address: str) -> str:
    """SHA-256 of a local file; of a remote one, which is slow to read, that of its ends."""
    if is_remote(address):
        return ends(address)
    with _told(address):
        return sha256(pathlib.Path(local_path(address)))


def _filesystem(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it."""
    with _told(address):
        try:
            import fsspec

            return fsspec.core.url_to_fs(address)
        except ImportError as error:
            raise UserError(
                f"{address} is not local and needs a package: {error}: {REMOTE}"
            ) from None


@contextlib.contextmanager
def _told(address: str) -> Iterator[None]:
    """Errors of a file system, each of which has its own classes, as a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        what = "" if isinstance(error, OSError) else f"{type(error).__name__}: "
        raise UserError(f"{address} cannot be read: {what}{error}") from error


# What an input matches: (address, the folder before what a path gives, bytes, whether it was found
# in a folder that the input names, so that it may be none of the log's).
Match = tuple[str, str, int, bool]


def _local(given: str) -> Iterator[Match]:
    path = local_path(given)
    if os.path.isfile(path):
        yield path, path, os.path.getsize(path), False
    elif os.path.isdir(path):
        yield from _below(path, path)
    else:
        base = _fixed(path)
        for match in sorted(glob.glob(path, recursive=True)):
            if _hidden(os.path.relpath(match, base or ".")):
                continue
            if os.path.isdir(match):
                yield from () if "**" in path else _below(match, base)
            else:
                yield match, base, os.path.getsize(match), False


def _below(folder: str, base: str) -> Iterator[Match]:
    """The files below a local folder."""
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(parent) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(os.path.realpath(parent))
        folders[:] = [name for name in folders if not _hidden(name)]
        for path in (os.path.join(parent, name) for name in names if not _hidden(name)):
            yield path, base, os.path.getsize(path), True


def _remote(given: str) -> Iterator[Match]:
    system, path = _filesystem(given)
    folder, file = system.isdir(path), system.isfile(path)
    base = path if folder or file else _fixed(path)
    infos = (system.find if folder else system.glob)(path, detail=True)
    for match, info in sorted(infos.items()):
        if info["type"] == "file" and not _hidden(match[len(base) :]):
            address, start = (system.unstrip_protocol(name) for name in (match, base))
            yield address, start, info["size"], folder


def _file(address: str, base: str, size: int, below: bool, format: str) -> RawFile:
    """A match as a file; without a format where it is none of the log's."""
    known = format_of(address)
    kind = known * (format in ("", known)) if below else format or known
    if not (kind or below):
        raise UserError(
            f"{address}: the name does not say the format; known are {' '.join(SUFFIXES)}, and "
            f"{PACKED} after those of text; give one of {', '.join(FORMATS)} as the input's format"
        )
    return RawFile(address, kind, size, _constants(address[len(base) :]))


def _tell_skipped(addresses: Sequence[str], most: int = 3) -> None:
    """Names the files of folders that are not read."""
    if addresses:
        shown = ", ".join(sorted(addresses)[:most]) + ", …" * (len(addresses) > most)
        files = f"{len(addresses):,} file{'s' * (len(addresses) > 1)}"
        print(f"skipped {files} whose names end in no suffix of the log's format: {shown}")


def _constants(below: str) -> tuple[tuple[str, str | None], ...]:
    pairs = [part.split("=", 1) for part in below.split("/")[:-1] if "=" in part]
    texts = {name: urllib.parse.unquote(text) for name, text in pairs}
    return tuple((name, None if text == NO_VALUE else text) for name, text in texts.items())


def _hidden(below: str) -> bool:
    return any(part[:1] in ("_", ".") and part not in (".", "..") for part in below.split("/"))


def _fixed(pattern: str) -> str:
    """The folder of a glob's files that has no wildcard, '' for the current one."""
    parts = pattern.split("/")
    wild = next(n for n, part in enumerate([*parts, "*"]) if glob.has_magic(part))
    return "/".join(parts[:wild])
