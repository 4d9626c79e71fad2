"""Scores files of any size by an exported model: Parquet, CSV or JSON lines.

The output has the input's rows in their order, the columns that are kept, and a column for each
task and space, such as order@click. A row that the model can't read has no scores, and is counted
with its reason. An interrupted call resumes: what is scored lies in OUTPUT.parts until the output
appears, at once. docs/serving.md says more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dtn_jax.cli import command

if TYPE_CHECKING:
    from dtn_jax.export.score_files import Job

EXAMPLE = "dtn-jax score --model=models/shop --input=day.parquet --output=s.parquet"

HIGH = 0.1  # a share of unknown values that is told
FORMATS = ", ".join(command.constant("data.schemas.spec", "FORMATS"))
LARGEST = command.constant("export.model", "LARGEST")
ROWS = ", ".join(f"{rows} on a {device.upper()}" for device, rows in LARGEST.items())
OPTIONS = {
    "model=DIR": "the folder that dtn-jax export wrote",
    "input=FILES": "files, globs or folders, by comma; local, or fsspec addresses",
    "output=FILE": "a new file: .parquet, .csv or .jsonl",
    "columns=NAMES": "what to keep beside the scores, by comma: names, _file for the name of a "
    "row's file, or nothing (--columns=); all columns of single values",
    "labels": "also write what `compare` needs, as the schema file says it: label/TASK in the "
    "unit of the score, group, sample_weight",
    "max_bad_rate=SHARE": "share of bad rows above which no output is written; 0 ends the "
    "command at the first one",
    "format=FORMAT": f"of the input, if no suffix says it: {FORMATS}",
    "batch_rows=ROWS": f"on the device at once (default: {ROWS})",
    "replace": "replace the output that is there",
}
DEFAULTS = {"columns": "all", "batch_rows": 0}
DEFAULTS["max_bad_rate"] = command.constant("export.score_files", "MAX_BAD_RATE")
SHARED = ("cache_dir",)
NEEDED = ("model", "input", "output")
RANGES = {"max_bad_rate": (0, 1), "batch_rows": command.POSITIVE}


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    from dtn_jax.data import progress  # after --help
    from dtn_jax.export import load
    from dtn_jax.export.score_files import Job

    model = load(known.model, largest=known.batch_rows)
    columns = None if known.columns == "all" else command.listed(known.columns)
    names = ("labels", "max_bad_rate", "format", "replace")
    given = {"columns": columns} | {name: getattr(known, name) for name in names}
    job = Job(model, command.listed(known.input), known.output, say=progress.say, **given)
    begun = time.monotonic()
    with progress.Rows() as bars:
        done = sum(bars.count(job.run(), "score", job.rows, rows=int))
    rate = f", at {done / (time.monotonic() - begun):,.0f} a second" if done else ""
    account = job.account
    lines = [line.replace("rows rejected", "rows have no scores", 1) for line in account.summary()]
    if known.columns == "all" and job.left_out:
        names = ", ".join(job.left_out)
        lines.append(f"the output leaves out {names} (lists or bytes; --columns=NAMES keeps them)")
    lines += unknown(job)
    scored = f"{account.rows - account.rejected:,} of {account.rows:,} rows are scored"
    for line in (*lines, f"{scored}{rate}: {known.output}"):
        progress.say(line)


def unknown(job: Job) -> list[str]:
    """What to say of fields of which many values are unknown."""
    from dtn_jax.data.progress import percent

    lines, names, fixed = [], job.model.schema.field_names, job.model.encoding.spec.fixed()
    for name, values, lost in zip(names, *job.counts.tolist()):
        if values == lost > 0 and name not in fixed:
            why = "is it written as it was in training?"
            lines.append(f"warning: the model knows no value of field {name!r}: {why}")
        elif lost > HIGH * values and name not in fixed:
            share = percent(lost, values)
            lines.append(f"{share} of the values of {name} are missing, or not in training")
    return lines
