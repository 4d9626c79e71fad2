"""What one run of a table costs, from parts that are measured in a few seconds each.

Nothing is trained to the end and the test split stays shut: steps are taken on one chunk of train,
scores are those of validation rows. The set that is read may be smaller than the one that the run
is for (`set_cost.as_large`): steps then work on tables of the full size, and what grows with the
rows is multiplied by theirs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import tempfile
from collections.abc import Callable

import jax
import numpy as np
from ml_collections import ConfigDict

from dtn_jax.checkpoint import Checkpoints
from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.data.epochs.reader import in_order
from dtn_jax.data.epochs.streamed import EpochReader
from dtn_jax.data.prepared import Prepared
from dtn_jax.evaluate import with_logits
from dtn_jax.metrics.scores import Scores
from dtn_jax.papertables.set_cost import SECONDS, SetCost, bytes_in, now, since, timed
from dtn_jax.parallel.fits import check_fits, held, is_resident
from dtn_jax.run import Run, build_run
from dtn_jax.state import State
from dtn_jax.step import make_train_chunk, make_train_step
from dtn_jax.tables import huge_pages


@dataclasses.dataclass(frozen=True)
class RunCost:
    """Of one run.

    Attributes:
      begun: seconds until its first step is done, its programs compiled.
      step: seconds of a training step.
      scored: seconds to read and score an example.
      saved: seconds to save a checkpoint.
      checkpoint: bytes of that on disk.
      memory: bytes that it holds as it trains, the compiler's temporaries included.
    """

    begun: float
    step: float
    scored: float
    saved: float
    checkpoint: int
    memory: int


def measure_run(
    config: ConfigDict, data: Prepared, full: Prepared, folder: pathlib.Path
) -> tuple[RunCost, Run, Scores]:
    """The cost of a run of a config, the run, and scores of some validation rows.

    Args:
      config: of the run.
      data: what is read.
      full: what the run is for: `as_large(data)`.
      folder: on the disk that checkpoints would be saved to.

    Raises:
      OutOfMemory: it does not fit this machine.
    """
    start = now()
    run = build_run(config, full)
    check_fits(run)
    step = make_train_step(run.config, run.model, run.plan, run.total_steps, run.at.table_mesh)
    function = make_train_chunk(step, CHUNK_STEPS, not config.train.skip_nonfinite)
    state = jax.block_until_ready(run.new_state())
    huge_pages.use((state.tables, state.slots))
    chunk = run.at.put(first_chunk(run, data), run.at.chunk())
    program = run.at.compile(function, state).lower(state, chunk, 1).compile()
    state = jax.block_until_ready(program(state, chunk, 1)[0])
    begun = since(start)
    taken, count, start = 0, 1, now()
    while not taken or since(start) < SECONDS:
        state = jax.block_until_ready(program(state, chunk, count)[0])
        taken += count
        count = min(2 * count, CHUNK_STEPS)
    step_time = since(start) / taken
    saved, size = save(run, state, folder)
    compiling, scored, scores = score(run, state, data)
    temporary = program.memory_analysis().temp_size_in_bytes
    memory = sum(part.bytes for part in held(run)) + temporary
    cost = RunCost(begun + compiling, step_time, scored, saved, size, memory)
    return cost, run, scores


def first_chunk(run: Run, data: Prepared):
    """CHUNK_STEPS batches of train, some of them twice where it has fewer."""
    size = run.config.data.batch_size
    window = next(EpochReader(data, "train", 1, run.grouped).steps(0, 0, 0, size))
    at = np.arange(CHUNK_STEPS) % len(window.ids)
    return jax.tree.map(lambda a: a[at], window)


def save(run: Run, state: State, folder: pathlib.Path) -> tuple[float, int]:
    """The time to save a checkpoint, and its bytes."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = pathlib.Path(place)
        with contextlib.closing(Checkpoints(path, run.plan)) as checkpoints:
            took = timed(lambda: checkpoints.save(1, state, {"best": {}}))
            return took, bytes_in(path)


def score(run: Run, state: State, data: Prepared) -> tuple[float, float, Scores]:
    """The times to compile the scoring step and to score an example, and scores of validation."""
    size, state = run.config.data.eval_batch_size, state.to_score()
    call: Callable = lambda b: run.score_step(state, run.at.put(b, run.at.batch()))  # noqa: E731

    def batches():
        for batch in in_order(data, "validation", size):
            yield batch
            if since(start) > SECONDS:
                return

    first = next(in_order(data, "validation", size))
    compiling = timed(lambda: jax.block_until_ready(call(first)))
    start = now()
    found = list(with_logits(batches(), call))
    seconds = since(start) / (len(found) * size)
    rows = np.concatenate([b.row_mask for b, _ in found])
    joined = {
        name: np.concatenate([getattr(b, name) for b, _ in found])[rows]
        for name in ("labels", "label_mask", "sample_weight")
    }
    logits = np.concatenate([own for _, own in found])[rows]
    group = data.groups("validation", slice(0, len(logits)))
    return compiling, seconds, Scores(logits=logits, group=group, **joined)


def seconds_of(cost: RunCost, shared: SetCost, run: Run, test: bool) -> float:
    """The time of a whole run, as if one thing were done after another.

    Args:
      cost, shared: what was measured.
      run: at its full size.
      test: whether it is a final run, which scores test and draws it again for a table.
    """
    steps, rows = run.total_steps, run.data.rows
    examples = rows["train"] if is_resident(run) else steps * run.config.data.batch_size
    validations = math.ceil(steps / run.at_steps.eval_every)
    found = cost.begun + steps * cost.step + examples * shared.read
    found += validations * rows["validation"] * (cost.scored + shared.judged)
    # A validation saves the last state, and often the best one.
    found += (2 * validations + steps // run.at_steps.checkpoint_every) * cost.saved
    if test:  # once with the best state, and once with each task's own best one
        states = min(validations, len(run.schema.tasks) + 1)
        found += rows["test"] * (states * (cost.scored + shared.judged) + shared.drawn)
    return found
