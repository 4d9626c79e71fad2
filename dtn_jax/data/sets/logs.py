"""What a schema file describes as a data set, and your own logs, once they were prepared."""

from __future__ import annotations

import json
import pathlib
import shlex
from typing import ClassVar

from dtn_jax import checksums
from dtn_jax.data import progress
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.raw.files import content, modified
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.named_schema import parted
from dtn_jax.data.stages import provenance
from dtn_jax.data.stages.work import SCHEMA_FILE, VERSION
from dtn_jax.errors import UserError
from dtn_jax.options import Option

ELSEWHERE = "if it is prepared elsewhere, give that folder as --data_dir=DIR"


class SchemaSet:
    """A data set that a schema file describes.

    Attributes:
      meaning: the fingerprint of what the schema file says.
      data_dir: the folder of the prepared set.
    """

    name: ClassVar[str]
    OPTIONS: ClassVar[dict[str, Option]] = {}  # `data.options`
    FIELD_OPTIONS: ClassVar[tuple[str, ...]] = ()  # that leave the rows and labels as they are
    SOURCE: ClassVar[str] = ""  # SHA-256 of the plug-in that it came with
    weight: ClassVar[str | None] = None  # '' where no row ever has a weight; None: the file says
    meaning: str
    data_dir: str
    manual_dir: pathlib.Path | None

    def recipe(self) -> str:
        """SHA-256 of what prepared rows depend on beside the raw files."""
        return provenance.recipe(self.meaning, self.SOURCE)

    def check_raw(self, prepared: Prepared, given: bool) -> None:
        """Raises UserError if the raw files are not those that the set was prepared from.

        Args:
          prepared: the set.
          given: this run was given their folder.
        """

    def download_and_prepare(self) -> None:
        """Prepares the set in `data_dir`, or raises UserError that says how to."""
        raise NotImplementedError

    def outdated(self) -> str:
        """What to say of a set of another recipe."""
        raise NotImplementedError


class Logs(SchemaSet):
    """Your own logs: a schema file says what they hold.

    `dtn-jax prepare --infer` writes a schema file, and `--schema` prepares the set.

    Args:
      data_dir: the folder of all prepared sets.
      manual_dir: not read: the raw files lie wherever `--input` found them.
      schema: the schema file, PATH, or PATH#MEANING as a run keeps it. Where that file now says
        something else, or is gone, the set that was prepared from what it meant is read.

    Raises:
      UserError: there is no such file, it makes no sense, or no set has the meaning.
    """

    name = "logs"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "schema": Option("", "the schema file, which dtn-jax prepare --schema has prepared")
    }

    def __init__(self, *, data_dir: str, manual_dir: pathlib.Path | None = None, schema: str = ""):
        if not schema:
            raise UserError(
                "data set 'logs' needs its schema file: --config=configs/logs.py:dtn,schema=FILE, "
                "or --options=schema=FILE (dtn-jax prepare --infer writes one)"
            )
        self.root, self.manual_dir = pathlib.Path(data_dir), None
        self.path, self.meaning = parted(schema)
        if not self.meaning or self.path.exists():
            self.spec = schema_file.load(self.path)
            found = schema_file.fingerprint(self.spec)
            if self.meaning in ("", found):
                self.meaning = found
                self.data_dir = str(self.root / "logs" / self.spec.name / VERSION)
                return
        self.data_dir = str(self._kept())

    def _kept(self) -> pathlib.Path:
        """The set that was prepared from what the schema file meant."""
        now = "now says something else" if self.path.exists() else "is gone"
        home = self.root / "logs"
        for place in (f"*/{VERSION}", f"*/replaced/{VERSION}*"):
            for path in sorted(home.glob(f"{place}/prepared.json")):
                if _recipe(path) == self.recipe():
                    progress.say(
                        f"schema file {self.path} {now}: reading the set that was prepared from "
                        f"what it said, {path.parent} (which keeps that file as {SCHEMA_FILE})"
                    )
                    return path.parent
        raise UserError(
            f"schema file {self.path} {now}, and no set in {self.root} was prepared from what it "
            f"said; {ELSEWHERE}, or bring the file back and prepare it"
        )

    def download_and_prepare(self) -> None:
        schema, root = (shlex.quote(str(path)) for path in (self.path, self.root))
        raise UserError(
            f"{self.path} is not prepared in {self.root}: run dtn-jax prepare "
            f"--schema={schema} --input=YOUR_FILES --data_dir={root}; {ELSEWHERE}"
        )

    def outdated(self) -> str:
        spec = schema_file.load(self.path)
        why = provenance.other_recipe(pathlib.Path(self.data_dir), spec, self.SOURCE)
        return (
            f"{self.data_dir} was prepared from {why}. Prepare it again with "
            f"dtn-jax prepare --schema={shlex.quote(str(self.path))} --input=YOUR_FILES "
            f"--data_dir={shlex.quote(str(self.root))} --replace (which keeps the old set), or "
            f"give the log another name. {self.data_dir}/{SCHEMA_FILE} is the file as it was"
        )

    def check_raw(self, prepared: Prepared, given: bool) -> None:
        """A file that is gone, or remote, is not looked at."""
        files = {a: pathlib.Path(a) for a in prepared.raw_files if "://" not in a}
        sizes = {a: path.stat().st_size for a, path in files.items() if path.is_file()}
        hashes = {
            a: content(a)
            for a, size in sizes.items()
            if not provenance.is_same(prepared, a, size, modified(a))
        }
        now = {
            "raw_files": prepared.raw_files | sizes,
            "raw_hashes": prepared.raw_hashes | hashes,
        }
        if change := provenance.other_file(prepared, now):
            raise UserError(
                f"{prepared.folder} was prepared from other raw files: {change}. Prepare the set "
                "again with dtn-jax prepare --replace"
            )


def _recipe(path: pathlib.Path) -> str:
    """That of a set, from its prepared.json; '' where that is damaged."""
    try:
        return str(json.loads(path.read_text()).get("recipe"))
    except checksums.UNREADABLE:
        return ""
