"""The folder in which a log is being prepared: what there is to do, and what is done.

    plan.json               files, units, and what else all processes must agree on
    schema_file.json        the schema file's content
    times/  order/  events/ of each unit, for splits and histories, which need the whole log first
    machines.json           how many machines share the work
    failed.1.json           why the second of them ended
    cuts.json               where the splits by time are cut
    ordered/  histories/    the split of each row by the order of users; what its histories list
    fit/00012/              statistics of unit 12; its facts, its bad rows, its days, its positives
    merged/                 encoders, vocabularies, the layout and the shards of the set
    shards/00003.json       shard 3 is written
    set/                    the prepared set, which moves to its place when it is whole

What is in one of these places is whole: it was made beside it and then moved there. So a command
that was killed finds what is done, and several processes, on several machines, share the work.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import json
import pathlib
import shutil
import urllib.parse
import uuid
import zipfile
from collections.abc import Iterator, Sequence

import pyarrow as pa

from dtn_jax.datasets.logs.raw.files import RawFile
from dtn_jax.datasets.logs.raw.unit import Unit
from dtn_jax.datasets.logs.schema import schema_file
from dtn_jax.datasets.logs.schema.spec import Spec
from dtn_jax.errors import UserError
from dtn_jax.shared_files import TEMPORARY, write_whole

SCHEMA_FILE = "schema_file.yaml"
UNREADABLE = (  # what readers of damaged files raise
    *(OSError, EOFError, ValueError, KeyError, UserError),
    *(zipfile.BadZipFile, pa.ArrowException),
)
TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)  # files, which says nothing about the one to be opened


@dataclasses.dataclass(frozen=True)
class Work:
    """A log that is being prepared.

    Attributes:
      folder: where.
      spec: the schema file.
      files, units: the raw log.
      time_unit: of the time column, one of TIME_UNITS; '' without one.
      chunk_rows: rows of a chunk: the same in every process, since sums of floats depend on it.
      memory: bytes that a process may hold for its statistics.
      extends: the folder of the prepared set that this one extends, if it does.
    """

    folder: pathlib.Path
    spec: Spec
    files: Sequence[RawFile]
    units: Sequence[Unit]
    time_unit: str
    chunk_rows: int
    memory: int
    extends: pathlib.Path | None = None

    def save(self) -> None:
        plan = {
            "files": [dataclasses.asdict(file) for file in self.files],
            "units": [dataclasses.asdict(unit) for unit in self.units],
            "name": self.spec.name,
            "path": self.spec.path,
            "schema": schema_file.fingerprint(self.spec),
            "time_unit": self.time_unit,
            "chunk_rows": self.chunk_rows,
            "extends": str(self.extends or ""),
        }
        write_whole(self.folder / "plan.json", json.dumps(plan))

    @property
    def cuts(self) -> dict[str, int]:
        path = self.folder / "cuts.json"
        return _read(path) if path.exists() else {}

    @functools.cached_property
    def merged(self) -> dict:
        """What was fitted: `encoders`, `layout`, `rows`, `counts` of each unit and split."""
        return _read(self.folder / "merged" / "merged.json", self.folder / "merged")

    def fitted(self, unit: int, what: str = "facts") -> dict:
        """Of a unit's statistics: `facts`; `rejects`, the account of bad rows; `days`; and
        `positives`, of pairs of tasks."""
        place = self.of("fit", unit)
        return _read(place / f"{what}.json", place)

    def written(self, shard: int) -> dict:
        return _read(self.of("encode", shard))

    def of(self, stage: str, index: int) -> pathlib.Path:
        """Where the result of a stage's task is."""
        names = {"times": f"times/{index:05d}.npy", "order": f"order/{index:05d}"}
        names |= {"events": f"events/{index:05d}"}
        names |= {"fit": f"fit/{index:05d}", "encode": f"shards/{index:05d}.json"}
        return self.folder / names[stage]


@contextlib.contextmanager
def whole(path: pathlib.Path, place: pathlib.Path | None = None) -> Iterator[None]:
    """Tells of a file that cannot be read, as after a power cut, and how it is made anew.

    Args:
      path: of the file.
      place: what stands for the task's being done; the file itself where it is None.
    """
    try:
        yield
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in TOO_MANY_OPEN:
            raise
        raise UserError(
            f"{path} is missing or damaged ({error}). Delete {place or path}: the same command "
            "then makes it anew"
        ) from None


def _read(path: pathlib.Path, place: pathlib.Path | None = None) -> dict:
    with whole(path, place):
        return json.loads(path.read_text())


@functools.cache
def load(folder: pathlib.Path, memory: int) -> Work:
    """The work in a folder, as another process saved it."""
    plan = _read(folder / "plan.json", folder)
    files = [RawFile(**f | {"constants": tuple(map(tuple, f["constants"]))}) for f in plan["files"]]
    units = [Unit(**unit) for unit in plan["units"]]
    with whole(folder / SCHEMA_FILE, folder):
        spec = schema_file.load(folder / SCHEMA_FILE)
        spec = dataclasses.replace(spec, name=plan["name"], path=plan["path"])
        if schema_file.fingerprint(spec) != plan["schema"]:
            raise ValueError("it is not the schema file that was copied there")
    spec = schema_file.timed(spec, plan["time_unit"])
    extends = pathlib.Path(plan["extends"]) if plan.get("extends") else None
    return Work(folder, spec, files, units, plan["time_unit"], plan["chunk_rows"], memory, extends)


@contextlib.contextmanager
def new_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Where a folder is made that moves to its place once it is whole."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    temporary.mkdir(parents=True)
    yield temporary
    if path.exists():  # made by another process meanwhile, with the same content
        shutil.rmtree(temporary)
    else:
        temporary.rename(path)


def file_name(name: str) -> str:
    """A field's or a table's name as that of a file."""
    return urllib.parse.quote(name, safe="")
