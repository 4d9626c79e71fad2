"""A step that was not finite, made again: operation by operation, and as it was compiled."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dtn_jax.analysis.stopped import FIELDS, Kept, batch_of
from dtn_jax.balancing import read_balancer, seam
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.errors import UserError
from dtn_jax.gradients import make_forward, make_gradients, make_weights
from dtn_jax.interface import SHARED
from dtn_jax.losses import finite
from dtn_jax.run import Run
from dtn_jax.state import State
from dtn_jax.step import make_train_chunk, make_train_step
from dtn_jax.tables import exchange, lookup
from dtn_jax.train import training_data

ROWS = 5  # of a batch, that are named


@dataclasses.dataclass(frozen=True)
class Bad:
    """Something that holds numbers which are not finite.

    Attributes:
      kind: batch, state, rows, layer, loss, gradient, or compiled step.
      name: of what.
      bad, numbers: how many numbers are not finite, and of how many; 0 of 0 where only a mark is
        known.
      rows: the first rows of the batch in which they are, where it has rows.
      input_is_bad: of a layer, whether what it was given held such numbers.
    """

    kind: str
    name: str
    bad: int = 0
    numbers: int = 0
    rows: tuple[int, ...] = ()
    input_is_bad: bool = False


def state_before(run: Run, checkpoints: Checkpoints, kept: Kept) -> tuple[State, int]:
    """The state before a step, and the step of the checkpoint from which it was made; 0 for none.

    Raises:
      UserError: an earlier step is not finite here.
    """
    found = checkpoints.read_before(kept.step, run.state_places)
    state = found[0] if found else run.new_state()
    begun = run.step_of(state)
    advance = compiled(run, state)
    with contextlib.closing(training_data(run)) as rows:
        for step in range(begun + 1, kept.step):
            chunk = jax.tree.map(lambda a: a[None], batch_of(run, rows, step))
            state, metrics = advance(state, run.at.put(chunk, run.at.chunk()), 1)
            if np.asarray(metrics["nonfinite"]).any() and not kept.skips:
                raise UserError(
                    f"step {step}, before step {kept.step}, is not finite here: the run had other "
                    "devices, or was stepped by another version"
                )
    return state, begun


def replay(run: Run, state: State, kept: Kept) -> list[Bad]:
    """What is not finite in a step, in the order in which it is computed; consumes the state."""
    batch = jax.tree.map(jnp.asarray, kept.batch)
    found = [_counted("batch", name, getattr(batch, name), by_row=True) for name in FIELDS]
    found += [Bad("state", name) for name in _bad_state(state)]
    plan, config = run.plan, run.config
    ids = lookup.row_ids(plan, batch)
    gathered = lookup.gather(state.tables, ids, exchange.look_ups(plan))
    found += _by_slot("rows", run, gathered)

    weights = make_weights(config, plan, batch)
    balancer = read_balancer(config.loss, plan.views, SHARED)
    scale = state.hyper.task_weights
    if balancer:
        scale = scale * seam.weights_of(balancer, state.params, plan.schema.tasks)
    with watched_layers() as layers:
        forward = make_forward(config, run.model, plan)
        _, (losses, _) = forward(state.params, gathered, state, batch, weights, scale)
    found += layers
    found += [_counted("loss", n, losses[i]) for i, n in enumerate(run.schema.task_names)]
    gradient = make_gradients(config, run.model, plan)(state, gathered, batch, scale)
    dense = zip(finite.paths(gradient.dense), jax.tree.leaves(gradient.dense))
    found += [_counted("gradient", name, leaf) for name, leaf in dense]
    found += _by_slot("gradient of rows", run, gradient.rows)

    names = finite.names(run.schema.task_names, state.params, plan.arrays)
    chunk = run.at.put(jax.tree.map(lambda a: np.asarray(a)[None], kept.batch), run.at.chunk())
    _, metrics = compiled(run, state)(state, chunk, 1)
    marked = np.asarray(metrics["nonfinite"])[0]
    found += [Bad("compiled step", name) for name, bad in zip(names, marked) if bad]
    return [one for one in found if one.bad or not one.numbers]


def compiled(run: Run, state: State):
    """`(state, chunk of one step, 1) -> (state, metrics)`, as training compiles it."""
    step = make_train_step(
        run.config, run.model, run.plan, run.total_steps, run.at.table_mesh, run.first
    )
    return run.at.compile(make_train_chunk(step, 1), state)


@contextlib.contextmanager
def watched_layers() -> Iterator[list[Bad]]:
    """Lists the layers whose outputs are not finite, in the order in which they end."""
    found: list[Bad] = []

    def watch(next_function, arguments, named, context):
        out = next_function(*arguments, **named)
        if context.method_name == "__call__":
            name = "/".join(context.module.path) or "the model"
            given = _counted("layer", name, (arguments, named))
            made = _counted("layer", name, out, by_row=True)
            if made.bad:
                found.append(dataclasses.replace(made, input_is_bad=given.bad > 0))
        return out

    with nn.intercept_methods(watch):
        yield found


def _bad_state(state: State) -> list[str]:
    return finite.bad_parts(state.params, state.model_state, state.tables)


def _by_slot(kind: str, run: Run, rows: dict[str, jax.Array]) -> list[Bad]:
    """Of rows `[B, views, L, D]` the fields, of other arrays their names."""
    fields = [field.name for field in run.schema.slot_fields()]
    embedded = rows["embedding"]
    found = {
        name: _counted(kind, name, embedded[:, :, np.array(fields) == name], by_row=True)
        for name in dict.fromkeys(fields)
    }
    others = [_counted(kind, n, a, by_row=True) for n, a in rows.items() if n != "embedding"]
    return [*found.values(), *others]


def _counted(kind: str, name: str, tree: Any, by_row: bool = False) -> Bad:
    """Counts numbers of a pytree's float arrays; what is being traced is left out."""
    arrays = [a for a in jax.tree.leaves(tree) if isinstance(a, jax.Array | np.ndarray)]
    arrays = [np.asarray(a) for a in arrays if not isinstance(a, jax.core.Tracer)]
    arrays = [a for a in arrays if np.issubdtype(a.dtype, np.floating)]
    bad = [~np.isfinite(a) for a in arrays]
    rows = sorted({int(i) for b in bad if b.ndim for i in np.nonzero(b)[0]}) if by_row else []
    numbers = max(sum(a.size for a in arrays), 1)
    return Bad(kind, name, int(sum(b.sum() for b in bad)), numbers, tuple(rows[:ROWS]))
