"""An exported model is a folder. Its files, and a manifest with the checksum of each.

    manifest.json         versions, dates, plug-ins, and SHA-256 and size of every other file
    schema.json           fields, tasks and their spaces
    config.json           how the program was made: config, members, tables; see `Facts`
    program.stablehlo     the forward pass, by jax.export, for every batch size and platform
    weights.safetensors   parameters and tables, each table as its logical rows
    encoders/             raw values to rows: encoders.json; of your own logs spec.json, vocabulary/
    calibration.json      per task what turns its logit into a calibrated one
    README.md, card/      what the model is, on what it was measured, and its limits

The program is `(weights, inputs) -> logits`, two dicts of arrays in, float32 `[B, T]` out, for the
tasks of schema.json, each in the space of its loss; of a regression the prediction in its label's
unit. `weights` are those of the file, by name:

    tables/embedding         [V, M D], of an ensemble's M members each row side by side
    tables/embedding.scale   float32 [V, M], where the table is int8
    params/… model_state/…   where there are several members, 0/params/…, 1/params/…

`inputs` has

    ids      int32   [B, L]         as in `interface.Batch`: -1 pads, 0 is the unknown id
    rows     int32   [B, views, L]  the same ids as rows of `tables/embedding`; padding is beyond
                                    its last row
    weights  float32 [B, W]
    numeric  float32 [B, N]

The batch B and the rows of `tables/embedding` are symbolic, so that a few rows can stand in for a
table that lies on disk.

Files that are not in the manifest are not read; nothing in the folder is run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import json
import pathlib
import shutil
from collections.abc import Iterator

from dtn_jax import files
from dtn_jax.errors import UserError, disk_errors
from dtn_jax.files import damage, files_in, hashes, locked, read_json, sha256, to_disk
from dtn_jax.schema import Schema

FORMAT, LOCK = 1, ".lock"  # of a folder that is being written
MANIFEST, SCHEMA, MODEL = "manifest.json", "schema.json", "config.json"
PROGRAM, WEIGHTS = "program.stablehlo", "weights.safetensors"
ENCODERS, CALIBRATION, CARD = "encoders", "calibration.json", "README.md"
TUPLES = ("members", "tasks", "all_tasks")  # of Facts
AGAIN = "export the run again (dtn-jax export), or restore the folder from a copy"
reading = functools.partial(files.reading, remedy=AGAIN)  # of a file of the folder


@dataclasses.dataclass(frozen=True)
class Facts:
    """config.json: what the program needs to know of its inputs, and how to make it anew.

    Attributes:
      config: the options of the run, flat, as config.json has them.
      members: of each run whose mean probability this is, its `seed`, the `step` of its state,
        and by what that state was the best: `selected_by`, a task, or "mean".
      offsets: per view and slot the first row of its table, `[views][L]`.
      rows: V, the rows of `tables/embedding`.
      table_dtype: float32, bfloat16, or int8 with a float32 scale a row (`tables/embedding.scale`).
      tasks: those whose scores the model gives, in the schema's order.
      all_tasks: the tasks of the run, as schema.json has them, where the folder's schema has fewer:
        those of `tasks`, and those whose predictions or spaces they need.
      improper: {task: what keeps its uncalibrated score from being a probability}, as its loss may.
      rank: the expression of the ranking score, as of ranking.py; "" without.
      example: {raw column: a value} of a row to try, as of write/example.py.
    """

    config: dict
    members: tuple[dict, ...]
    offsets: tuple[tuple[int, ...], ...]
    rows: int
    table_dtype: str
    tasks: tuple[str, ...]
    all_tasks: tuple[dict, ...] = ()
    improper: dict[str, str] = dataclasses.field(default_factory=dict)
    rank: str = ""
    example: dict = dataclasses.field(default_factory=dict)


def write_manifest(folder: pathlib.Path, facts: dict) -> None:
    """Writes the manifest last, over all other files in the folder.

    Args:
      folder: of the model.
      facts: `made`, when the folder was; `program`, {"made", "jax", "platforms"} of the StableHLO;
        `versions` of what made the folder; `data`, {"name", "fingerprint"} of the data set; and
        `plugins`, [{"name", "sha256"}]. Times are as `now` writes them.
    """
    others = {name: path for name, path in files_in(folder).items() if not is_card(name)}
    others.pop(MANIFEST, None)
    manifest = {"format": FORMAT, **facts, "files": hashes(others)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


def is_card(name: str) -> bool:
    """Whether a file is for people alone, who may edit it on a model hub."""
    return name == CARD or name.startswith("card/")


def read_manifest(folder: pathlib.Path) -> dict:
    """The manifest of a folder whose files are as they were written.

    Raises:
      UserError: there is no model, it is of another version, or a file is missing or has changed.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder} holds no model; dtn-jax export writes one")
    manifest = read_json(
        folder / MANIFEST, AGAIN, lambda facts: facts | {"files": dict(facts["files"])}
    )
    if manifest.get("format") != FORMAT:
        raise UserError(f"another version of dtn_jax wrote {folder}; {AGAIN}")
    if problem := damage(folder, manifest["files"]):
        raise UserError(f"{folder}/{problem}; {AGAIN}")
    return manifest


def read_facts(folder: pathlib.Path) -> Facts:
    """What config.json says."""

    def facts_of(facts: dict) -> Facts:
        facts |= {name: tuple(facts[name]) for name in TUPLES}
        facts["offsets"] = tuple(map(tuple, facts["offsets"]))
        return Facts(**facts)

    return read_json(folder / MODEL, AGAIN, facts_of)


def read_schema(folder: pathlib.Path) -> Schema:
    with reading(folder / SCHEMA) as path:
        return Schema.load(path)


def model_id(folder: pathlib.Path) -> str:
    """The beginning of the manifest's SHA-256: what a model is called where it is served."""
    return sha256(folder / MANIFEST)[:12]


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


# ------------------------------------------------ a folder appears whole, or not at all


@contextlib.contextmanager
def new_folder(out: pathlib.Path, replace: bool) -> Iterator[pathlib.Path]:
    """Gives an empty folder beside `out`, which takes its name when the block ends.

    Where the block raises, or the process dies, `out` is as it was before. What a process that died
    has left is removed by the next one.

    Raises:
      UserError: `out` is there and is not to be replaced, holds other things than a model, or is
        being written by another process.
      OSError: it cannot be written, as where the disk is full.
    """
    check_free(out, replace)
    folder = out.with_name(f".{out.name}.tmp")
    with contextlib.ExitStack() as stack, disk_errors(out.parent):
        folder.mkdir(parents=True, exist_ok=True)
        if (lock := locked(folder / LOCK)) is None:
            raise UserError(f"another export writes {out} now: name another folder")
        stack.enter_context(lock)
        old = folder.with_name(f"{folder.name}.old")
        if old.exists():  # a process died between the two names, or while it removed the old model
            shutil.rmtree(old) if out.exists() else old.rename(out)
            check_free(out, replace)
        for left in {*folder.iterdir()} - {folder / LOCK}:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            yield folder
            for path in (*folder.rglob("*"), folder):
                to_disk(path)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if out.exists():  # is gone for a moment, as two names can't change at once
            out.rename(old)
        folder.rename(out)  # until now nobody else has had the lock
        (out / LOCK).unlink()
        shutil.rmtree(old, ignore_errors=True)
        to_disk(out.parent)


def check_free(out: pathlib.Path, replace: bool) -> None:
    """Raises UserError unless a model may be written to `out`."""
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / MANIFEST).is_file()):
        raise UserError(f"{out} is there and holds no model; name a new folder")
    if not replace and any(out.iterdir()):
        raise UserError(f"{out} holds a model; name a new folder, or replace it by --replace")
