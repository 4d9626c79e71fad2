"""What a command that was killed has scored already, and how it becomes the output.

Beside OUTPUT lies the folder `OUTPUT.parts`: `made_from.json`, what is being scored and by which
model, and for each unit that is done its rows, `000012.FORMAT`, and `000012.json`, their checksum
and their tally. Each is written beside its place and moved there when it is whole.
Parts of Parquet are Arrow files, which are faster to write; those of CSV have no header. The output
is written there too, `joined.tmp`, a unit after the other as they are done, and moved to its place.
After a kill it is begun anew, from the parts.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import polars as pl
import pyarrow as pa

from dtn_jax.checksums import UNREADABLE, checksum
from dtn_jax.errors import UserError
from dtn_jax.export.joined import Joined
from dtn_jax.export.tally import Tally
from dtn_jax.shared_files import REMEDIES, TEMPORARY, locked, replacing, write_whole

FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
PARTS = {"parquet": ".arrow", "csv": ".csv", "jsonl": ".jsonl"}  # suffixes
MADE_FROM = "made_from.json"
JOINED = f"joined{TEMPORARY}"  # the output while it is being written
# the names of what lies in the folder; no other file is ever removed
OWN = re.compile(
    rf"lock|{re.escape(JOINED)}"
    rf"|({re.escape(MADE_FROM)}|\d{{6,}}\.[a-z]+)(\.\w+{re.escape(TEMPORARY)})?"
)


def output_path(output: str | pathlib.Path, replace: bool) -> pathlib.Path:
    """The path of an output, which must be new unless it is to be replaced."""
    if "://" in str(output):
        raise UserError(f"the output {output} is not local: expected a path")
    path = pathlib.Path(output).expanduser().absolute()
    if path.suffix not in FORMATS:
        raise UserError(f"the output {path.name!r} ends in none of {', '.join(FORMATS)}")
    with _named(path):
        if path.is_dir() or (path.exists() and not replace):
            raise UserError(f"{path} is there already; give another output, or --replace")
    return path


@contextlib.contextmanager
def _named(output: pathlib.Path) -> Iterator[None]:
    """A place that can't be written, as a UserError that names the output."""
    try:
        yield
    except OSError as error:
        remedy = REMEDIES.get(error.errno, "name a place that can be written")
        fault = f"{error.filename or output}: {error.strerror or error}"
        raise UserError(f"the output {output} can't be written: {fault}; {remedy}") from None


class Part:
    """The scored rows of a unit, written chunk by chunk; whole once it is closed."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._replacing = replacing(path)
        self._temporary = self._replacing.__enter__()
        self._file: IO | None = None
        self._arrow: pa.ipc.RecordBatchFileWriter | None = None

    def write(self, frame: pl.DataFrame) -> None:
        if self._file is None:
            self._file = self._temporary.open("wb")
        if self.path.suffix == PARTS["parquet"]:
            table = frame.to_arrow()
            if self._arrow is None:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._arrow = pa.ipc.new_file(self._file, table.schema, options=options)
            self._arrow.write_table(table)
        elif self.path.suffix == PARTS["csv"]:
            frame.write_csv(self._file, include_header=False)
        else:
            frame.write_ndjson(self._file)

    def abandon(self) -> None:
        """Closes the file, which stays what it is: not whole."""
        for file in (self._arrow, self._file):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()

    def close(self) -> None:
        for file in (self._arrow, self._file):
            if file is not None:
                file.close()
        self._replacing.__exit__(None, None, None)


class Parts:
    """The parts of an output.

    Args:
      output: the file that they become; its suffix says the format.
      made_from: all that its numbers depend on, as JSON has it.
      say: is told what is found.

    Raises:
      UserError: another process writes the same output, its place can't be written, or the folder
        of the parts is there and is someone else's.
    """

    def __init__(self, output: pathlib.Path, made_from: Any, say: Callable[[str], None]):
        self.output, self.folder = output, output.with_name(f"{output.name}.parts")
        self.format = FORMATS[output.suffix]
        with _named(output):
            self._begin(made_from, say)

    def _begin(self, made_from: Any, say: Callable[[str], None]) -> None:
        if self.folder.is_symlink():
            raise UserError(f"{self.folder} is a link, expected a folder or nothing: delete it")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_own()
        self._lock = locked(self.folder / "lock")
        if self._lock is None:
            raise UserError(
                f"another process is writing {self.output} (it holds {self.folder}/lock)"
            )
        text = json.dumps(made_from, indent=1, sort_keys=True)
        place = self.folder / MADE_FROM
        if self._read(place) != text:
            if any(self.folder.glob("*.json")):
                say(f"{self.folder} is of another model, other files or options: begun anew")
            for path in self._own():
                path.unlink()
            write_whole(place, text)
        for path in self._own():
            if path.suffix == TEMPORARY:  # of a process that was killed
                path.unlink()

    def _check_own(self) -> None:
        """Raises UserError where the folder has no MADE_FROM and holds files: it is not ours."""
        there = {path.name for path in self.folder.iterdir()}
        begun = {name for name in there if name == "lock" or name.startswith(f"{MADE_FROM}.")}
        if MADE_FROM not in there and (others := sorted(there - begun)):
            raise UserError(
                f"{self.folder}, where the parts of {self.output.name} would lie, is not of this "
                f"command: it holds {others[0]!r} and no {MADE_FROM}; move it away, or give "
                "another output"
            )

    def _own(self) -> list[pathlib.Path]:
        """The files that this command has put into the folder, but the lock; MADE_FROM comes last.

        So a process that is killed while it removes them leaves a folder that is known as its own.
        """
        found = [p for p in self.folder.iterdir() if OWN.fullmatch(p.name) and p.name != "lock"]
        return sorted(found, key=lambda path: (path.name == MADE_FROM, path.name))

    def _remove(self) -> None:
        """Removes what this command has put there, and the folder where nothing else is in it."""
        with contextlib.suppress(OSError):
            for path in [*self._own(), self.folder / "lock"]:
                path.unlink()
            self.folder.rmdir()

    def release(self) -> None:
        """Lets other processes write the output; parts of which none is whole are removed."""
        if not self._any():
            self._remove()
        self._lock.close()

    def _any(self) -> bool:
        """Whether a unit has been scored."""
        return any(self.folder.glob("[0-9]*.json"))

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """A disk that is full or can't be written, as a UserError."""
        try:
            yield
        except (OSError, pl.exceptions.ComputeError) as error:
            number = getattr(error, "errno", None)
            fault = os.strerror(number) if number else str(error)
            remedy = REMEDIES.get(number, "name a place that can be written")
            kept = f" (what is scored stays in {self.folder})" if self._any() else ""
            raise UserError(f"{self.output} can't be written: {fault}; {remedy}{kept}") from None

    def done(self, unit: int) -> Tally | None:
        """The tally of a unit that was scored; None where it was not, or is damaged."""
        text = self._read(self._of(unit, ".json"))
        try:
            found = json.loads(text)
            if checksum(self._of(unit)) != found["checksum"]:
                return None
            return Tally.from_json(found)
        except UNREADABLE:
            return None

    def open(self, unit: int) -> Part:
        return Part(self._of(unit))

    def close(self, unit: int, part: Part, tally: Tally) -> None:
        part.close()
        found = {"checksum": checksum(part.path)} | tally.to_json()
        write_whole(self._of(unit, ".json"), json.dumps(found))

    def joined(self, empty: pl.DataFrame, metadata: Mapping[str, str]) -> Joined:
        """The output, which has no rows as yet; `empty` has its columns."""
        return Joined(self.folder / JOINED, self.output, empty, metadata)

    def append(self, unit: int, joined: Joined) -> None:
        """Appends a unit to the output.

        Raises:
          UserError: its part has changed since it was scored.
        """
        if self.done(unit) is None:
            raise UserError(
                f"{self._of(unit)} is damaged: its checksum is another than when it was scored; "
                "run the same command again, which scores its rows anew and keeps the others"
            )
        joined.append(self._of(unit))

    def finish(self, joined: Joined) -> None:
        """Puts the output in its place, and removes the parts."""
        joined.close()
        self._remove()

    def _of(self, unit: int, suffix: str = "") -> pathlib.Path:
        """The file of a unit's rows, or another of its files."""
        return self.folder / f"{unit:06d}{suffix or PARTS[self.format]}"

    def _read(self, path: pathlib.Path) -> str:
        try:
            return path.read_text()
        except (OSError, UnicodeDecodeError):
            return ""
