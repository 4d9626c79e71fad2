"""Scores files of any size by an exported model: Parquet, CSV or JSON lines.

The output has the input's rows in their order, the columns that are kept, and a column for each
task and space, such as order@click. A row that the model can't read has no scores, and is counted
with its reason. An interrupted call resumes: what is scored lies in OUTPUT.parts until the output
appears, at once. docs/scoring.md says more.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Mapping, Sequence

from dtn_jax.cli import command, compile_cache
from dtn_jax.data import progress
from dtn_jax.data.progress import percent
from dtn_jax.data.schemas.spec import FORMATS
from dtn_jax.data.stages.account import Account
from dtn_jax.errors import UserError
from dtn_jax.export import load
from dtn_jax.export.batches import LARGEST, LEAST
from dtn_jax.export.score_files import MAX_BAD_RATE, ON_BAD_ROWS, Job
from dtn_jax.export.weights_file import PLACES, padded

EXAMPLE = "dtn-jax score --model=models/shop --input=day.parquet --output=s.parquet"

HIGH = 0.1  # a share of unknown values that is told
RESUMES = True  # an interrupted call resumes where it was


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    for name in ("model", "input", "output"):
        if not getattr(known, name):
            raise UserError(f"--{name} is missing. See --help.")
    largest = known.batch_rows
    if largest and largest != padded(largest, LEAST):
        raise UserError(f"--batch_rows={largest}, expected a power of two, {LEAST} or more")
    compile_cache.use(known.cache_dir)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: progress.say(f"warning: {message}")
        model = load(known.model, tables=known.tables, largest=largest)
    job = Job(
        model,
        _listed(known.input),
        known.output,
        columns=None if known.columns == "all" else _listed(known.columns),
        labels=known.labels,
        on_bad_rows=known.on_bad_rows,
        max_bad_rate=known.max_bad_rate,
        format=known.format,
        replace=known.replace,
        say=progress.say,
    )
    begun, done = time.monotonic(), 0
    with progress.Rows() as bars:
        for rows in bars.count(job.run(), "score", job.rows, rows=int):
            done += rows
    seconds = time.monotonic() - begun
    for line in job.tally.reasons():
        progress.say(line)
    kinds = {"lists": job.lists, "bytes": job.binary}
    if known.columns == "all" and any(kinds.values()):
        left = "; of ".join(f"{kind}: {', '.join(own)}" for kind, own in kinds.items() if own)
        progress.say(f"the output leaves out columns of {left} (--columns names others)")
    _tell_unknown(job.tally.values, model.facts.fixed)
    now = f", {done:,} read now" if job.resumed else ""
    rate = f"{now}, at {done / max(seconds, 1e-9):,.0f} a second" if done else ""
    progress.say(f"{_counted(job.tally.account)} scored{rate}: {known.output}")


def _counted(account: Account) -> str:
    """How many rows have scores: "20 rows are", or "17 of 20 rows are"."""
    scored, rows = account.rows - account.rejected, account.rows
    words = "row is" if rows == 1 else "rows are"
    return f"{rows:,} {words}" if scored == rows else f"{scored:,} of {rows:,} {words}"


def _tell_unknown(values: Mapping[str, tuple[int, int]], fixed: Collection[str]) -> None:
    """Says of which fields the model knows too few values, or none."""
    high = {
        name: percent(lost, own)
        for name, (own, lost) in sorted(values.items(), key=lambda kv: -kv[1][1] / max(kv[1][0], 1))
        if own and lost > HIGH * own and name not in fixed
    }
    if high:
        told = ", ".join(f"{name} {share}" for name, share in high.items())
        progress.say(f"unknown to the model, since missing or not in its training: {told}")
    for name in (name for name in high if values[name][0] == values[name][1]):
        progress.say(
            f"warning: the model knows no value of field {name!r}: is it written as it was in "
            "training?"
        )


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add("--model", default="", help="the folder that dtn-jax export wrote")
    add("--input", default="", help="files, globs or folders, by comma; local, or fsspec addresses")
    add("--output", default="", help="a new file: .parquet, .csv or .jsonl")
    add(
        "--columns",
        default="all",
        help="what to keep beside the scores, by comma: names, _file for the name of a row's file, "
        "or nothing at all (--columns=). Default: all columns of single values",
    )
    add(
        "--labels",
        action="store_true",
        help="also write what `compare` needs, as the schema file says it: label/TASK in the unit "
        "of the score, group, sample_weight",
    )
    add(
        "--on_bad_rows",
        default=ON_BAD_ROWS[0],
        choices=ON_BAD_ROWS,
        help="a row that can't be read has no scores (null), or ends the command (error)",
    )
    add(
        "--max_bad_rate",
        type=float,
        default=MAX_BAD_RATE,
        help="share of bad rows above which no output is written (default %(default)s)",
    )
    add(
        "--format",
        default="",
        choices=("", *FORMATS),
        metavar=f"{{{','.join(FORMATS)}}}",
        help="of the input, if no suffix says it",
    )
    add(
        "--tables",
        default=PLACES[0],
        choices=PLACES,
        help="embedding tables on the device, or on disk, of which each batch reads its rows",
    )
    add(
        "--batch_rows",
        type=int,
        default=0,
        help="rows on the device at once, a power of two (default: "
        f"{', '.join(f'{rows} on a {device.upper()}' for device, rows in LARGEST.items())})",
    )
    add("--replace", action="store_true", help="replace the output that is there")
    compile_cache.add_option(parser)
    return parser
