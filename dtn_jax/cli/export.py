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

EXAMPLE = "dtn-jax export --workdir=runs/adult_dtn --out=models/adult_dtn"


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    if known.batch_size and not known.onnx:
        raise UserError(f"--batch_size={known.batch_size} is for --onnx: a folder has none")
    if known.again:
        check_alone(known, "again")
        from dtn_jax.export.write import make_again

        make_again(known.again, known.plugins)
    elif known.onnx:
        check_alone(known, "onnx", "out")
        if not known.out or known.batch_size < 0:
            raise UserError("--onnx wants a file, --out=FILE.onnx, and a --batch_size of 1 or more")
        from dtn_jax.export.write.again import write_onnx

        write_onnx(known.onnx, known.out, known.batch_size, known.plugins)
    else:
        export_runs(known)


def export_runs(known: argparse.Namespace) -> None:
    """Exports the runs in the folders of --workdir."""
    workdirs = [part.strip() for part in command.listed(known.workdir) if part.strip()]
    command.require(known, "workdir", "out")
    for folder in (*workdirs, known.out):
        folders.check(folder, "workdir" if folder in workdirs else "--out")
    compile_cache.use(known.cache_dir)
    from dtn_jax.export.write import export_run

    names = ("tables", "select", "replace", "fix", "rank", *command.DATA)
    export_run(
        [pathlib.Path(folder) for folder in workdirs],
        known.out,
        tasks=[name.strip() for name in command.listed(known.tasks)],
        calibrate=known.calibration,
        **{name: getattr(known, name) for name in names},
    )


def check_alone(known: argparse.Namespace, option: str, *more: str) -> None:
    """Raises UserError where an option of an export stands beside one that has no use for it."""
    usual = vars(make_parser().parse_args([]))
    of_both = {option, "batch_size", "plugins", "cache_dir", "debug", *more}
    if given := [n for n, v in vars(known).items() if v != usual[n] and n not in of_both]:
        raise UserError(f"--{option} has no use for --{given[0]}: it reads a model's folder alone")


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)
    parser.usage = "%(prog)s --workdir DIR --out MODEL [more of the options below]"
    auto = command.constant("export.fit_calibration", "AUTO")
    ways = ", ".join([auto, *command.constant("export.calibration", "METHODS")])
    dtypes = ", ".join(command.constant("export.write.program", "TABLE_DTYPES"))
    options = {
        "workdir=DIR": "the folder of a finished run, of several by comma, or of replicas",
        "out=MODEL": "the model's folder, a new one",
        "replace": "replace the model that is there",
        "tables=DTYPE": f"dtype of the stored tables: {dtypes} (default: the run's own)",
        "tasks=NAMES": "tasks whose scores the model gives, by comma (default: all)",
        "select=TASK": "the best state for this task (default: the state that the run reports)",
        "fix=VALUES": "values of fields that only training knows, such as position=1,page=null",
        "calibration=WAY": f"of every task, by validation: {ways}; {auto} keeps of the others what "
        "helps a task and makes no output worse that is derived from it",
        "rank=SCORE": "one more output, to rank by: an expression of tasks' scores, such as "
        "'click * order**2', or the rank.json that dtn-jax rank wrote (docs/export.md)",
        "again=MODEL": "a model's folder, whose program is made anew",
        "onnx=MODEL": "a model's folder, to be written to --out as ONNX (see docs/export.md)",
        "batch_size=ROWS": "of the ONNX file's inputs (default: any, where jax2onnx can)",
    }
    command.add(parser, options, calibration=auto, batch_size=0)
    command.add_shared(parser, *command.DATA, "cache_dir")
    return parser
