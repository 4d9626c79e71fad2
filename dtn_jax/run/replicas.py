"""Many runs in one program: `vmap` trains seeds, or values of scalar options, side by side.

Each replica has its own folder, data order, dropout, early stopping and results, as if it had run
alone; replicas share only the compiled steps. Their tables are not sharded: all lie on one device.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dtn_jax.config import override
from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.errors import UserError, choose
from dtn_jax.options import lists
from dtn_jax.parallel import memory
from dtn_jax.parallel.fits import LOWER, check_fits
from dtn_jax.parallel.preemption import Notices
from dtn_jax.run.outcome import Unusable
from dtn_jax.run.results import show_replicas
from dtn_jax.run.run import build_model, build_run
from dtn_jax.run.selection import tell_of_end
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.run.train import Member, Steps, fit, tell_of_rows

MOST = 1000  # replicas
# What may differ between replicas: traced scalars of the state, and the seed.
SCALARS = (
    "seed",
    "optim.learning_rate",
    "optim.weight_decay",
    "optim.table_learning_rate",
    "optim.table_l2",
    "model.dropout",
    "model.embedding_dropout",
    "loss.task_weights",
)


def train_replicas(
    config: ConfigDict,
    workdir: str | pathlib.Path,
    *,
    test: bool = True,
    preemptible: bool = False,
) -> list[dict]:
    """Trains the replicas that `config.replicas` names, and returns the results of each.

    The same call on the same folder resumes. `train` can also resume one folder, `replica_I`, with
    that replica's config.

    Args:
      config: see configs/base.py; `parallel.devices` counts as 1.
      workdir: the folder of `replica_0`, `replica_1`, ….
      test, preemptible: as in `train`.
    """
    if config.train.start_from:
        raise UserError("train.start_from does not go with replicas: start each run alone")
    settings = parse_replicas(config)
    root = pathlib.Path(workdir).expanduser()
    if (root / "config.json").exists():
        raise Unusable(f"workdir {root} holds a single run; name another folder for replicas")
    runs = [build_run(replica_config(config, setting)) for setting in settings]
    runs[0].check_model()
    check_fits(runs[0], len(runs))
    with memory.told(f"replicas, {LOWER}"), contextlib.ExitStack() as stack:
        members = [
            stack.enter_context(contextlib.closing(Member(run, root / f"replica_{i}", True)))
            for i, run in enumerate(runs)
        ]
        training = [m for m in members if not m.finished(test)]
        if training:
            tell_of_rows(runs[0])
        start_together(training)
        fit(training, side_by_side, Notices(preemptible))
        for m in training:
            if not m.failure:
                m.conclude(test)
    failures = [m.failure for m in members if m.failure]
    if failures:
        others = len(members) - len(failures)
        raise UserError("\n".join([*failures, f"The other {others} replicas are finished."]))
    results = [member.results for member in members]
    show_replicas(results, settings, runs[0], root)
    tell_of_end(results, runs[0])
    return results


def side_by_side(members: Sequence[Member]) -> Steps:
    """The steps of all members in one program; states have a leading axis of replicas."""
    runs, first = [m.run for m in members], members[0].run
    config = ConfigDict(first.config.to_dict())
    for rate in ("dropout", "embedding_dropout"):  # a model with rate 0 has no dropout for any
        config.model[rate] = max(run.config.model[rate] for run in runs)
    model = build_model(config, first.schema)
    step = make_train_step(first.config, model, first.plan, first.total_steps)
    together = jax.vmap(make_train_chunk(step, CHUNK_STEPS), in_axes=(0, 0, None))
    chunk = jax.jit(together, donate_argnums=0)

    def stacked(trees):
        return jax.tree.map(lambda *a: jnp.stack(a), *trees)

    return Steps(
        lambda state, batches, count: chunk(state, stacked(batches), count),
        stacked([m.state for m in members]),
        lambda tree, i: jax.tree.map(lambda a: a[i], tree),
    )


def start_together(members: Sequence[Member]) -> None:
    """Starts all members; those that resume do so at a step of which all have a checkpoint.

    If a process dies between two members' saves, some are a checkpoint ahead.

    Raises:
      UserError: they have no checkpoint in common.
    """
    saved = {m: m.checkpoints.steps() for m in members}
    going = [
        m for m in members if not (saved[m] and m.checkpoints.progress(saved[m][-1])["stopped"])
    ]
    steps_of_going = [set(saved[m]) for m in going]
    common = set.intersection(*steps_of_going) if going else set()
    if not common and len(set().union(*steps_of_going)) > 1:
        raise UserError(
            "these replicas have no checkpoint in common, so they cannot resume together: "
            + ", ".join(f"{m.folder.path.name} at {saved[m] or 'none'}" for m in going)
            + "; resume each by a call of its own, with its config and its folder as the workdir"
        )
    for member in members:  # from 0 on where they were cut while the first ones were written
        member.start(max(common, default=0) if member in going else None)


def parse_replicas(config: ConfigDict) -> list[dict[str, str]]:
    """What `config.replicas` sets in each replica, {option: text}.

    Raises:
      UserError: replicas cannot differ in an option, or the lists have different lengths.
    """
    text = config.replicas.strip()
    if text.isdecimal() and 0 < int(text) <= MOST:
        return [{"seed": str(config.seed + i)} for i in range(int(text))]
    values = lists(text, f"replicas={text!r}", f"1 to {MOST:,} seeds or OPTION=VALUE,VALUE")
    for key, texts in values.items():
        choose("option in replicas", key, SCALARS)
        if key == "loss.task_weights":  # a value is a list itself: in brackets, or between '|'
            texts = [one for part in texts for one in part.split("|")]
            values[key] = [one.strip().strip("()[]") for one in texts]
    counts = {key: len(v) for key, v in values.items()}
    if not values or len(set(counts.values())) > 1:
        raise UserError(
            f"replicas={text!r}: expected the same number of values for each option, got {counts}"
        )
    return [dict(zip(values, row)) for row in zip(*values.values())]


def replica_config(config: ConfigDict, setting: dict[str, str]) -> ConfigDict:
    """The config of one replica, as for a run of its own."""
    alone = ConfigDict(config.to_dict()).lock()
    alone.replicas = ""
    alone.parallel.devices = 1
    for key, value in setting.items():
        override(alone, key, value)
    return alone
