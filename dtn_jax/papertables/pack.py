"""The pack: a folder's cells and tunings in one compressed file, a line of JSON each.

`xz -dc cells.jsonl.xz` shows it. The first line counts the others, so that a pack that was cut
short, at whatever place, is not taken for a whole one; xz itself has a checksum. A pack that cannot
be read is never written over: the command stops and says which it is.
"""

from __future__ import annotations

import functools
import json
import lzma
import os
import pathlib
from collections.abc import Mapping

from dtn_jax.errors import UserError
from dtn_jax.papertables import draws
from dtn_jax.shared_files import replacing, to_disk

FILE = "cells.jsonl.xz"
FORMAT = 1
BROKEN = (lzma.LZMAError, EOFError, ValueError, KeyError, TypeError, AttributeError)


def read(folder: pathlib.Path) -> dict[str, dict]:
    """{name: what is kept} of a folder's pack; nothing where it has none.

    Raises:
      UserError: it is damaged.
    """
    path = folder / FILE
    try:
        facts = path.stat()
    except FileNotFoundError:
        return {}
    return _read(path, (facts.st_ino, facts.st_size, facts.st_mtime_ns))


@functools.lru_cache(maxsize=4)
def _read(path: pathlib.Path, state: tuple[int, ...]) -> dict[str, dict]:
    """A pack in this state: a new one is another file."""
    try:
        return decoded(path.read_bytes())
    except BROKEN as error:
        raise UserError(
            f"{path} is damaged ({error}). Nothing is written over it: put a whole copy in its "
            "place, or move it away, and all that it held is computed anew"
        ) from None


def write(folder: pathlib.Path, content: Mapping[str, Mapping]) -> None:
    """Writes a pack that holds just this, or leaves the old one."""
    path = folder / FILE
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            file.write(encoded(content))
            file.flush()
            os.fsync(file.fileno())
        back = decoded(temporary.read_bytes())
        if json.dumps(back, sort_keys=True) != json.dumps(content, sort_keys=True):
            raise OSError(f"{temporary} does not hold what was written to it")
    to_disk(folder)  # the new name, before anything that relies on it is deleted


def encoded(content: Mapping[str, Mapping]) -> bytes:
    """A pack's bytes: its lines in the order of their names.

    Draws are written less those of the line before: the runs of a data set are moved alike.
    """
    lines, before = [{"format": FORMAT, "lines": len(content)}], {}
    for name in sorted(content):
        own = dict(content[name])
        if "draws" in own:
            given = own["draws"]
            own["draws"] = {key: draws.less(kept, before.get(key)) for key, kept in given.items()}
            before |= given
        lines.append({"name": name, **own})
    texts = (json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines)
    text = "".join(f"{line}\n" for line in texts)
    return lzma.compress(text.encode())


def decoded(data: bytes) -> dict[str, dict]:
    """What `encoded` was given.

    Raises:
      One of BROKEN: it is no whole pack.
    """
    first, *lines = map(json.loads, lzma.decompress(data).decode().split("\n")[:-1])
    if first["format"] != FORMAT or first["lines"] != len(lines):
        raise ValueError(f"it has {len(lines)} lines, and should be {first}")
    found, before = {}, {}
    for line in lines:
        if "draws" in line:
            line["draws"] = {k: draws.plus(v, before.get(k)) for k, v in line["draws"].items()}
            before |= line["draws"]
        found[line.pop("name")] = line
    return found
