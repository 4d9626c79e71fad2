"""Your own logs as a data set: what a schema file describes, once it was prepared."""

from __future__ import annotations

import pathlib
from typing import ClassVar

from dtn_jax.datasets.logs import finish_set, provenance, schema_file
from dtn_jax.datasets.logs.raw.files import ends
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.options import Option


class Logs:
    """Your own logs: a schema file says what they hold.

    `python -m experiments.prepare --infer` writes a schema file, and `--schema` prepares the set.
    """

    name: ClassVar[str] = "logs"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "schema": Option("", "the schema file, which experiments.prepare --schema has prepared")
    }
    FIELD_OPTIONS: ClassVar[tuple[str, ...]] = ()
    SOURCE: ClassVar[str] = ""

    def __init__(self, *, data_dir: str, manual_dir: pathlib.Path | None = None, schema: str = ""):
        if not schema:
            raise UserError(
                "data set 'logs' needs its schema file: --config=configs/logs.py:dtn,schema=FILE "
                "(experiments.prepare --infer writes one)"
            )
        self.root, self.manual_dir = pathlib.Path(data_dir), None
        self.spec = schema_file.load(schema.partition("#")[0])
        self.data_dir = str(self.root / "logs" / self.spec.name / finish_set.VERSION)

    def download_and_prepare(self) -> None:
        raise UserError(
            f"{self.spec.path} is not prepared in {self.root}: run python -m experiments.prepare "
            f"--schema={self.spec.path} --input=YOUR_FILES --data_dir={self.root}"
        )

    def recipe(self) -> str:
        return provenance.recipe(self.spec, self.SOURCE)

    def outdated(self) -> str:
        """What to say of a set of another recipe."""
        why = provenance.other_recipe(pathlib.Path(self.data_dir), self.spec, self.SOURCE)
        return (
            f"{self.data_dir} was prepared from {why}. Prepare it again with experiments.prepare "
            "--replace"
        )

    def check_notes(self, notes: dict) -> str:
        return ""

    def check_raw(self, prepared: Prepared) -> None:
        """Raises UserError if a raw file has changed; one that is gone, or remote, is not looked
        at."""
        for address, size in prepared.raw_files.items():
            path = pathlib.Path(address)
            if "://" in address or not path.is_file():
                continue
            now = path.stat().st_size
            if now != size:
                change = f"was {size:,} bytes, is {now:,} bytes"
            elif ends(address) != prepared.raw_hashes[address]:
                change = "has the same size, but its first or last bytes differ"
            else:
                continue
            raise UserError(
                f"{prepared.folder} was prepared from another {address}: it {change}. Prepare the "
                "set again with experiments.prepare --replace"
            )
