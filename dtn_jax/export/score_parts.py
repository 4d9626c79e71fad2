"""What a command that was killed has scored already, and how it becomes the output.

Beside OUTPUT lies the folder `OUTPUT.parts`, and in it one whose name is a hash of what is being
scored, by which model. There each unit that is done has its rows, `000012.arrow`, and
`000012.json`, their checksum and their tally, which is written last. The output is written there,
too, and moved to its place when it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from dtn_jax.errors import REMEDIES, UserError, disk_errors
from dtn_jax.export.tally import Tally
from dtn_jax.files import Damaged, locked, reading, sha256, to_disk, write_whole

SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")
GROUP = 1 << 17  # rows of a Parquet file's row group
NAME = "[0-9a-f]" * 16  # of a folder of parts


@contextlib.contextmanager
def writing(output: pathlib.Path) -> Iterator[None]:
    """A disk that is full or can't be written, as a UserError that names the output."""
    try:
        with disk_errors(output):
            yield
    except OSError as error:
        remedy = REMEDIES.get(error.errno, "name a place that can be written")
        told = f"{error.filename or output}: {error.strerror or error}; {remedy}"
        raise UserError(f"the output {output} can't be written: {told}") from None


class Parts:
    """The units of an output that are scored.

    Args:
      output: the file that they become; its suffix says the format.
      replace: an output that is there is replaced when the new one is whole.
      made_from: all that its numbers depend on, as JSON has it.
      say: is told what is found.

    Raises:
      UserError: the output is there, or can't be written, or another process writes it.
    """

    def __init__(
        self, output: pathlib.Path, replace: bool, made_from: Any, say: Callable[[str], None]
    ):
        text = json.dumps(made_from, sort_keys=True)
        self.output, self.place = output, output.with_name(f"{output.name}.parts")
        self.folder = self.place / hashlib.sha256(text.encode()).hexdigest()[:16]
        with writing(output):
            if output.is_dir() or (output.exists() and not replace):
                raise UserError(f"{output} is there already; give another output, or --replace")
            self.place.mkdir(parents=True, exist_ok=True)
            self._lock = locked(self.place / "lock")
            if self._lock is None:
                told = f"another process is writing {output} (it holds {self.place}/lock)"
                raise UserError(told)
            for other in self.place.glob(NAME):
                if other != self.folder:
                    say(f"{self.place} is of another model, other files or options: begun anew")
                    shutil.rmtree(other)
            self.folder.mkdir(exist_ok=True)

    def rows(self, unit: int) -> pathlib.Path:
        """The file of a unit's rows."""
        return self.folder / f"{unit:06d}.arrow"

    def tally(self, unit: int) -> Tally | None:
        """Of a unit that was scored; None where it was not, or is damaged."""
        try:
            with reading(self.rows(unit).with_suffix(".json"), "score it anew") as path:
                facts = json.loads(path.read_text())
                whole = sha256(self.rows(unit)) == facts["sha256"]
                return Tally.from_json(facts) if whole else None
        except Damaged:
            return None

    def close(self, unit: int, tally: Tally) -> None:
        """Marks a unit, whose rows are written, as done."""
        facts = {"sha256": sha256(self.rows(unit))} | tally.to_json()
        write_whole(self.rows(unit).with_suffix(".json"), json.dumps(facts))

    def join(self, units: int, empty: pl.DataFrame, metadata: Mapping[str, str]) -> None:
        """Puts the output in its place, where a power cut leaves it whole.

        Args:
          units: how many there are, all of them whole.
          empty: the columns of the output.
          metadata: of a Parquet file.
        """
        temporary = self.folder / f"output{self.output.suffix}"
        rows = pl.scan_ipc([self.rows(unit) for unit in range(units)]) if units else empty.lazy()
        if self.output.suffix == ".parquet":
            options = {"row_group_size": GROUP, "metadata": dict(metadata)}
            rows.sink_parquet(temporary, compression_level=1, **options)
        elif self.output.suffix == ".csv":
            rows.sink_csv(temporary)
        else:
            rows.sink_ndjson(temporary)
        to_disk(temporary)
        temporary.replace(self.output)
        to_disk(self.output.parent)
        self._remove()

    def release(self) -> None:
        """Lets other processes write the output; parts of which none is whole are removed."""
        if not any(self.folder.glob("*.json")):
            self._remove()
        self._lock.close()

    def _remove(self) -> None:
        """Removes the parts, and their place where nothing else is in it."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder)
            (self.place / "lock").unlink()
            self.place.rmdir()


def output_path(output: str | pathlib.Path) -> pathlib.Path:
    """The path of an output that can be written."""
    path = pathlib.Path(output).expanduser().absolute()
    if "://" in str(output):
        raise UserError(f"the output {output} is not local: expected a path")
    if path.suffix not in SUFFIXES:
        raise UserError(f"the output {path.name!r} ends in none of {', '.join(SUFFIXES)}")
    return path
