"""Public sets whose raw files SQL turns into a log of Parquet files first, once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator

import duckdb

from dtn_jax.datasets.preparation import progress
from dtn_jax.datasets.public.public_logs import Files, PublicLogs
from dtn_jax.errors import UserError

MEMORY = "2400MB"  # of DuckDB, whose limit is a soft one: 60 % of what `prepare` may need
THREADS = 8  # at most: each may hold some 0.15 GB of long lines beside that
NOTES = "notes.json"


class JoinedLogs(PublicLogs):
    """A public set of joined files: its class has the SQL that joins them."""

    def join(
        self, database: duckdb.DuckDBPyConnection, files: Files, folder: pathlib.Path
    ) -> dict[str, object]:
        """Writes the log as Parquet files, in the order of their names.

        Args:
          database: an empty one.
          files: the raw files by name.
          folder: where the Parquet files go.

        Returns:
          Notes of the set, as of `prepare`.

        Raises:
          UserError: a raw file is damaged; it names the file and the line.
        """
        raise NotImplementedError

    @contextlib.contextmanager
    def log(self, files: Files) -> Iterator[list[str]]:
        """The joined files; what an interrupted call has left of the same raw files is used."""
        stats = {name: path.stat() for name, path in files.items()}
        facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()]
        target = self.home / f"joined-{hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}"
        for stale in set(self.home.glob("joined-*")) - {target}:
            shutil.rmtree(stale)
        if not target.exists():
            progress.say(f"Reading the files of {self.name} into {self.home}")
            folder = target.with_suffix(".tmp")
            with opened(folder / "database") as database:
                notes = self.join(database, files, folder)
            (folder / NOTES).write_text(json.dumps(notes))
            folder.rename(target)
        self.notes = json.loads((target / NOTES).read_text())
        yield [str(path) for path in sorted(target.glob("*.parquet"))]
        shutil.rmtree(target)


@contextlib.contextmanager
def opened(folder: pathlib.Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with a database of its own in a folder, which is removed in the end; it loads
    nothing from afar, and spills to that folder what does not fit into its memory."""
    folder.mkdir(parents=True)
    settings = {
        "memory_limit": MEMORY,
        "threads": min(os.cpu_count() or 1, THREADS),
        "temp_directory": str(folder / "spilled"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    try:
        with duckdb.connect(str(folder / "join.duckdb"), config=settings) as database:
            yield database
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise UserError(f"the files cannot be joined in {folder.parent}: {error}") from error
    finally:
        shutil.rmtree(folder)
