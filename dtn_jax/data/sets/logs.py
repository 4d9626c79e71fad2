"""Your own logs as a data set, once they were prepared."""

from __future__ import annotations

import json
import pathlib
import shlex
from typing import ClassVar

from dtn_jax.data import progress
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.named_schema import parted
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.data.stages import provenance
from dtn_jax.data.stages.work import SCHEMA_FILE, VERSION
from dtn_jax.errors import UserError
from dtn_jax.options import Option

ELSEWHERE = "if it is prepared elsewhere, give that folder as --data_dir=DIR"


class Logs(DataSet):
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
            meaning = schema_file.fingerprint(self.spec)
            if self.meaning in ("", meaning):
                self.meaning = meaning
                self.data_dir = str(self.root / "logs" / self.spec.name / VERSION)
                return
        self.data_dir = str(self._kept())

    def _kept(self) -> pathlib.Path:
        """The set that was prepared from what the schema file meant."""
        now = "now says something else" if self.path.exists() else "is gone"
        home = self.root / "logs"
        for place in (f"*/{VERSION}", f"*/replaced/{VERSION}*"):
            for path in sorted(home.glob(f"{place}/prepared.json")):
                if json.loads(path.read_text())["recipe"] == self.recipe():
                    progress.say(
                        f"schema file {self.path} {now}: reading the set that was prepared from "
                        f"what it said, {path.parent} (which keeps that file as {SCHEMA_FILE})"
                    )
                    self.spec = schema_file.load(path.parent / SCHEMA_FILE)
                    return path.parent
        raise UserError(
            f"schema file {self.path} {now}, and no set in {self.root} was prepared from what it "
            f"said; {ELSEWHERE}, or bring the file back and prepare it"
        )

    def download_and_prepare(self):
        schema, root = (shlex.quote(str(path)) for path in (self.path, self.root))
        raise UserError(
            f"{self.path} is not prepared in {self.root}: run dtn-jax prepare --schema={schema} "
            f"--input=YOUR_FILES --data_dir={root}; {ELSEWHERE}"
        )

    def outdated(self):
        spec = schema_file.load(self.path)
        why = provenance.other_recipe(pathlib.Path(self.data_dir), spec, self.SOURCE)
        return (
            f"{self.data_dir} was prepared from {why}. Prepare it again with dtn-jax prepare "
            "--replace (which keeps the old set), or give the log another name"
        )

    def check_raw(self, prepared):
        """A file that is gone, or remote, is not looked at."""
        there = (a for a in prepared.raw_files if "://" not in a and pathlib.Path(a).is_file())
        facts = provenance.raw_facts({address: address for address in there}, prepared)
        now = {name: getattr(prepared, name) | each for name, each in facts.items()}
        if change := provenance.other_file(prepared, now):
            raise UserError(
                f"{prepared.folder} was prepared from other raw files: {change}. Prepare the set "
                "again with dtn-jax prepare --replace"
            )
