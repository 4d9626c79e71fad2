"""Scores files of any size by an exported model: Parquet, CSV or JSON lines.

The output has the input's rows in their order, the columns that are kept, and a column for each
task and space, such as order@click. A row that the model can't read has no scores, and is counted
with its reason. An interrupted call resumes: what is scored lies in OUTPUT.parts until the output
appears, at once. docs/scoring.md says more.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from dtn_jax.cli import command, compile_cache

if TYPE_CHECKING:
    from dtn_jax.export.score_files import Tally

EXAMPLE = "dtn-jax score --model=models/shop --input=day.parquet --output=s.parquet"

HIGH = 0.1  # a share of unknown values that is told
RESUMES = True  # an interrupted call resumes where it was
FORMATS = ", ".join(command.constant("data.schemas.spec", "FORMATS"))
LARGEST = command.constant("export.compiled", "LARGEST")
ROWS = ", ".join(f"{rows} on a {device.upper()}" for device, rows in LARGEST.items())
OPTIONS = {
    "model=DIR": "the folder that dtn-jax export wrote",
    "input=FILES": "files, globs or folders, by comma; local, or fsspec addresses",
    "output=FILE": "a new file: .parquet, .csv or .jsonl",
    "columns=NAMES": "what to keep beside the scores, by comma: names, _file for the name of a "
    "row's file, or nothing (--columns=); all columns of single values",
    "labels": "also write what `compare` needs, as the schema file says it: label/TASK in the "
    "unit of the score, group, sample_weight",
    "on_bad_rows=null|error": "a row that can't be read has no scores (null), or ends the "
    "command (error)",
    "max_bad_rate=SHARE": "share of bad rows above which no output is written",
    "format=FORMAT": f"of the input, if no suffix says it: {FORMATS}",
    "tables=memory|disk": "embedding tables on the device, or on disk, of which each batch "
    "reads its rows",
    "batch_rows=ROWS": f"on the device at once, a power of two (default: {ROWS})",
    "replace": "replace the output that is there",
}
DEFAULTS = {"columns": "all", "on_bad_rows": "null", "tables": "memory", "batch_rows": 0}
DEFAULTS["max_bad_rate"] = command.constant("export.score_files", "MAX_BAD_RATE")
SHARED = ("cache_dir",)
NEEDED = ("model", "input", "output")


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    from dtn_jax.data import progress  # after --help
    from dtn_jax.export import load
    from dtn_jax.export.compiled import check_largest
    from dtn_jax.export.score_files import Job

    largest = check_largest(known.batch_rows, "--batch_rows")
    compile_cache.use(known.cache_dir)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: progress.say(f"warning: {message}")
        model = load(known.model, tables=known.tables, largest=largest)
    columns = None if known.columns == "all" else command.listed(known.columns)
    names = ("labels", "on_bad_rows", "max_bad_rate", "format", "replace")
    given = {name: getattr(known, name) for name in names}
    inputs = command.listed(known.input)
    job = Job(model, inputs, known.output, columns=columns, say=progress.say, **given)
    begun, done = time.monotonic(), 0
    with progress.Rows() as bars:
        for rows in bars.count(job.run(), "score", job.rows, rows=int):
            done += rows
    seconds = time.monotonic() - begun
    for line in job.tally.reasons():
        progress.say(line)
    if known.columns == "all" and (left := [*job.lists, *job.binary]):
        progress.say(f"the output leaves out {', '.join(left)} (--columns names others)")
    for line in unknown(job.tally, model.facts.fixed):
        progress.say(line)
    now = f", {done:,} read now" if job.resumed else ""
    rate = f"{now}, at {done / max(seconds, 1e-9):,.0f} a second" if done else ""
    rows = job.tally.account.rows
    scored = rows - job.tally.account.rejected
    progress.say(f"{scored:,} of {rows:,} rows are scored{rate}: {known.output}")


def unknown(tally: Tally, fixed: Collection[str]) -> list[str]:
    """What to say of fields of which many values are missing, or unseen in training.

    Args:
      tally: of the rows.
      fixed: fields whose values the model has.
    """
    from dtn_jax.data.progress import percent

    lines, values = [], {name: n for name, n in tally.values.items() if n and name not in fixed}
    for what, counts in (("missing", tally.missing), ("not in training", tally.unseen)):
        high = {name: counts[name] for name, n in values.items() if counts[name] > HIGH * n}
        shares = ", ".join(f"{name} {percent(n, values[name])}" for name, n in high.items())
        lines += [f"values that are {what}: {shares}"] if high else []
    return lines
