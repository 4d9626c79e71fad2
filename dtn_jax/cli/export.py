"""Exports a finished run's model: one folder that scores raw rows without the training code.

The folder holds the program (StableHLO, for every batch size on CPUs, GPUs and TPUs), the weights
(safetensors), encoders, schema and calibration, and a manifest with the SHA-256 of every file.
--workdir=A,B,C exports runs that differ in their seed alone as one model, of their mean
probability. --again=MODEL makes the program of a model anew, from its folder alone: do so once its
StableHLO is too old for a new JAX. docs/export.md says more.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command

EXAMPLE = "dtn-jax export --workdir=runs/adult_dtn --out=models/adult_dtn"

OF_RUNS = ("tables", "select", "replace", "rank", *command.DATA)
MODES = {  # {what is read: the options that go with it, beside --cache_dir and --debug}
    "workdir": ("out", "tasks", "calibration", *OF_RUNS),
    "again": ("plugins",),
    "onnx": ("out", "batch_size", "plugins"),
}
AUTO = command.constant("export.fit_calibration", "AUTO")
WAYS = ", ".join([AUTO, *command.constant("export.calibration", "METHODS")])
DTYPES = ", ".join(command.constant("export.write.program", "TABLE_DTYPES"))
OPTIONS = {
    "workdir=DIR": "the folder of a finished run, of several by comma, or of replicas",
    "out=MODEL": "the model's folder, a new one",
    "replace": "replace the model that is there",
    "tables=DTYPE": f"dtype of the stored tables: {DTYPES} (default: the run's own)",
    "tasks=NAMES": "tasks whose scores the model gives, by comma (default: all)",
    "select=TASK": "the best state for this task (default: the state that the run reports)",
    "calibration=WAY": f"of every task, by validation: {WAYS}; {AUTO} keeps of the others what "
    "helps a task and makes no output worse that is derived from it",
    "rank=SCORE": "one more output, to rank by: an expression of tasks' scores, such as "
    "'click * order**2', or the rank.json that dtn-jax rank wrote (docs/export.md)",
    "again=MODEL": "a model's folder, whose program is made anew",
    "onnx=MODEL": "a model's folder, to be written to --out as ONNX (see docs/export.md)",
    "batch_size=ROWS": "of the ONNX file's inputs (default: any, where jax2onnx can)",
}
SHARED = (*command.DATA, "cache_dir")
DEFAULTS = {"calibration": AUTO, "batch_size": 0}
RANGES = {"batch_size": command.POSITIVE}
EXISTING = {"workdir": f"{command.RUN}, or of a replica"}


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    if known.again:
        from dtn_jax.export.write import make_again

        make_again(known.again, known.plugins)
        return
    command.require(known, "out")
    if known.onnx:
        from dtn_jax.export.write.again import write_onnx

        write_onnx(known.onnx, known.out, known.batch_size, known.plugins)
        return
    command.check_folder(known.out, "--out")
    command.check_finished(known.workdir)
    from dtn_jax.export.write import export_run

    given = {name: getattr(known, name) for name in OF_RUNS}
    given |= {"tasks": command.listed(known.tasks), "calibrate": known.calibration}
    export_run([*map(pathlib.Path, command.listed(known.workdir))], known.out, **given)
