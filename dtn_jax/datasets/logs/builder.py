"""What a schema file describes as a data set, and your own logs, once they were prepared."""

from __future__ import annotations

import pathlib
from typing import ClassVar

from dtn_jax.datasets.logs import finish_set, provenance, schema_file
from dtn_jax.datasets.logs.raw.files import ends
from dtn_jax.datasets.logs.spec import Spec
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.options import Option


class SchemaSet:
    """A data set that a schema file describes.

    Attributes:
      spec: what the schema file says.
      data_dir: the folder of the prepared set.
    """

    name: ClassVar[str]
    OPTIONS: ClassVar[dict[str, Option]] = {}  # `data.options`
    FIELD_OPTIONS: ClassVar[
        tuple[str, ...]
    ] = ()  # those that leave the rows and labels as they are
    SOURCE: ClassVar[str] = ""  # SHA-256 of the plug-in that it came with
    spec: Spec
    data_dir: str
    manual_dir: pathlib.Path | None

    def recipe(self) -> str:
        return provenance.recipe(self.spec, self.SOURCE)

    def check_notes(self, notes: dict) -> str:
        return ""

    def download_and_prepare(self) -> None:
        raise NotImplementedError

    def outdated(self) -> str:
        """What to say of a set of another recipe."""
        raise NotImplementedError


class Logs(SchemaSet):
    """Your own logs: a schema file says what they hold.

    `python -m experiments.prepare --infer` writes a schema file, and `--schema` prepares the set.
    """

    name = "logs"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "schema": Option("", "the schema file, which experiments.prepare --schema has prepared")
    }

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

    def outdated(self) -> str:
        return (
            f"{self.data_dir} was prepared from another schema file than {self.spec.path} is now; "
            "prepare it again with experiments.prepare --replace"
        )

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
