"""Shows where a step of a run became NaN or infinite: the first layer, loss, gradient or parameter.

A run that meets a loss or gradient which is not finite ends, and writes the batch of that step.
This command makes the state before it from the last checkpoint, and computes the step on that batch
operation by operation, on one device; it changes nothing in the run's folder.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Sequence

import rich.table

from dtn_jax.analysis import stopped
from dtn_jax.analysis.finished import read_config
from dtn_jax.analysis.replay import Bad, replay, state_before
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.checkpoint.start_from import started
from dtn_jax.cli import command, compile_cache
from dtn_jax.config import base_config
from dtn_jax.errors import UserError
from dtn_jax.report import screen
from dtn_jax.run import build_run
from dtn_jax.workdir import in_use

EXAMPLE = "dtn-jax replay --batch=runs/adult_dtn/nonfinite/step-57.npz"
SHOWN = 12  # lines of a kind


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--batch", default="", help="the step's file, in its run's workdir")
    command.add_shared(parser, *command.DATA, "cache_dir")
    known = parser.parse_args(arguments)
    if not known.batch:
        raise UserError("no batch: give --batch=WORKDIR/nonfinite/step-N.npz")
    path = pathlib.Path(known.batch).expanduser().absolute()
    kept, workdir = stopped.read(path), path.parent.parent
    config = read_config(workdir, base_config(), known.plugins, finished=False)
    if in_use(workdir):
        raise UserError(f"a process works in {workdir}; wait until it has ended")
    config.parallel.processes, config.parallel.devices = "off", 1
    config.parallel.table_devices = 0
    config.data.data_dir = known.data_dir or config.data.data_dir
    config.data.manual_dir = known.manual_dir or config.data.manual_dir
    compile_cache.use(known.cache_dir)
    config.train.skip_nonfinite = int(kept.skips)
    run = started(build_run(config), workdir)
    stopped.check_batch(run, kept, path)
    with contextlib.closing(Checkpoints(workdir, run.plan)) as checkpoints:
        state, begun = state_before(run, checkpoints, kept)
    since = f"the checkpoint of step {begun}" if begun else "the beginning"
    print(f"Step {kept.step}, from {since} on, which is {kept.step - 1 - begun} steps before it.")
    show(replay(run, state, kept))


def show(found: Sequence[Bad]) -> None:
    """Prints what is not finite, in the order in which it is computed."""
    if not found:
        print("Everything is finite here: the run had other devices, or another version of JAX.")
        return
    table = rich.table.Table(title="not finite, in the order of computing")
    for column in ("what", "name", "numbers", "first rows"):
        table.add_column(column, overflow="fold")
    for kind in dict.fromkeys(one.kind for one in found):
        own = [one for one in found if one.kind == kind]
        for one in own[:SHOWN]:
            count = f"{one.bad:,} of {one.numbers:,}" if one.numbers else ""
            rows = ", ".join(map(str, one.rows))
            table.add_row(one.kind, one.name, count, rows)
        if len(own) > SHOWN:
            table.add_row(kind, f"and {len(own) - SHOWN} more")
    screen.show(table)
    first = found[0]
    if first.kind == "layer" and not first.input_is_bad:
        told = f"layer {first.name}: its inputs are finite, its outputs are not"
    else:
        told = f"{first.kind} {first.name}"
    print(f"The first that is not finite: {told}")
