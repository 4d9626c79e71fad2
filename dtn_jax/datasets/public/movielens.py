"""MovieLens 100K, 1M and 25M; movielens_100k.yaml and the others say what becomes of them.

The raw files are a table of ratings and one of movies, two of the versions also have one of users.
They are joined to one Parquet file, some ratings at a time, and that is the log.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import ClassVar

from dtn_jax.datasets.preparation import progress
from dtn_jax.datasets.public import movielens_files
from dtn_jax.datasets.public.public_logs import Files, PublicLogs
from dtn_jax.errors import UserError
from dtn_jax.options import Option
from dtn_jax.shared_files import locked, replacing


class MovieLens(PublicLogs):
    """MovieLens: like (a rating of 4 or more) and the rating itself."""

    name = "movielens"
    weight = ""
    OPTIONS: ClassVar[dict[str, Option]] = {
        "version": Option(
            "1m", "how many ratings: 100K, 1M or 25M", choices=tuple(movielens_files.VERSIONS)
        )
    }

    @property
    def url(self) -> str:
        """The address of the archive of this version."""
        return f"https://files.grouplens.org/datasets/movielens/ml-{self.own.version}.zip"

    def schema_name(self) -> str:
        return f"movielens_{self.own.version}"

    def raw_names(self) -> tuple[str, ...]:
        return movielens_files.VERSIONS[self.own.version].names

    @contextlib.contextmanager
    def log(self, files: Files) -> Iterator[list[str]]:
        """The joined file; what an interrupted call has left of the same raw files is taken up."""
        found = {name: path.stat() for name, path in files.items()}
        facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found.items()]
        key = hashlib.sha256(repr(facts).encode()).hexdigest()[:12]
        path = self.home / f"joined-{key}.parquet"
        self.home.mkdir(parents=True, exist_ok=True)
        lock = locked(self.home / "joined.lock")
        if lock is None:
            raise UserError(f"another process is preparing {self.name} in {self.home}")
        with lock:
            for stale in set(self.home.glob("joined-*")) - {path}:
                stale.unlink()
            if not path.exists():
                progress.say(f"Joining the files of MovieLens {self.own.version} in {self.home}")
                with replacing(path) as temporary:
                    movielens_files.join(self.own.version, files, temporary)
            yield [str(path)]
            path.unlink()
            (self.home / "joined.lock").unlink()
