"""Exports a finished run's model: one folder that scores raw rows without the training code.

The folder holds the program (StableHLO, for every batch size on CPUs, GPUs and TPUs), the weights
(safetensors), encoders, schema and calibration, and a manifest with the SHA-256 of every file.
--workdir=A,B,C exports runs that differ in their seed alone as one model, of their mean
probability. --again=MODEL makes the program of a model anew, from its folder alone: do so once its
StableHLO is too old for a new JAX. docs/export.md says more.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command, compile_cache, folders
from dtn_jax.errors import UserError
from dtn_jax.export.fit_calibration import AUTO, WAYS
from dtn_jax.export.write import export_run, make_again
from dtn_jax.export.write.onnx import BATCH, write_onnx
from dtn_jax.export.write.program import TABLE_DTYPES

EXAMPLE = "dtn-jax export --workdir=runs/adult_dtn --out=models/adult_dtn"


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    if known.batch_size is not None and not known.onnx:
        raise UserError(
            f"--batch_size={known.batch_size} is for --onnx; a model's folder has no fixed size"
        )
    if known.again:
        check_alone(known, "again")
        make_again(known.again, known.plugins)
        return
    if known.onnx:
        check_alone(known, "onnx", "out")
        if not known.out or (known.batch_size is not None and known.batch_size < 1):
            raise UserError("--onnx wants a file, --out=FILE.onnx, and a --batch_size of 1 or more")
        write_onnx(known.onnx, known.out, known.batch_size or 0, known.plugins)
        return
    workdirs, tasks = (
        [part.strip() for part in text.split(",") if part.strip()]
        for text in (known.workdir, known.tasks)
    )
    if not workdirs:
        raise UserError("no workdir: give --workdir=DIR, the folder of a finished run")
    if not known.out:
        raise UserError("no folder for the model: give --out=MODEL")
    for folder in (*workdirs, known.out):
        folders.check(folder, "workdir" if folder in workdirs else "--out")
    compile_cache.use(known.cache_dir)
    export_run(
        [pathlib.Path(folder) for folder in workdirs],
        known.out,
        tables=known.tables,
        tasks=tasks,
        select=known.select,
        replace=known.replace,
        fix=known.fix,
        calibrate=known.calibration or AUTO,
        plugins=known.plugins,
        data_dir=known.data_dir,
        manual_dir=known.manual_dir,
    )


def check_alone(known: argparse.Namespace, option: str, *more: str) -> None:
    """Raises UserError where an option of an export stands beside one that has no use for it."""
    others = ("again", "onnx", "workdir", "out", "tables", "tasks", "select", "fix", "replace")
    others += ("calibration", "data_dir", "manual_dir")
    given = [n for n in others if getattr(known, n) and n not in (option, *more)]
    if given:
        raise UserError(f"--{option} has no use for --{given[0]}: it reads a model's folder alone")


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)

    def add(name: str, help: str) -> None:
        parser.add_argument(f"--{name}", default="", help=help)

    add("workdir", "the folder of a finished run, of several by comma, or of replicas")
    add("out", "the model's folder, a new one")
    parser.add_argument("--replace", action="store_true", help="replace the model that is there")
    add("tables", f"dtype of the stored tables: {', '.join(TABLE_DTYPES)} (default: the run's own)")
    add("tasks", "tasks whose scores the model gives, by comma (default: all)")
    add("select", "the best state for this task (default: the state that the run reports)")
    add("fix", "values of fields that only training knows, such as position=1,page=null")
    add(
        "calibration",
        f"of every task, by validation: {', '.join(WAYS)} (default: {AUTO}, which keeps of the "
        "others what helps a task and makes no output worse that is derived from it)",
    )
    add("again", "a model's folder, whose program is made anew")
    add("onnx", "a model's folder, to be written to --out as an ONNX file (see docs/export.md)")
    parser.add_argument(
        "--batch_size",
        type=int,
        default=None,
        help=f"of the ONNX file's inputs (default: any; {BATCH:,} where jax2onnx needs a size)",
    )
    add("plugins", "where the run's plug-ins are now, if not where the run had them")
    add("data_dir", "where prepared sets are now, if not where the run had them")
    add("manual_dir", "where raw files are now, if not where the run had them")
    compile_cache.add_option(parser)
    return parser
