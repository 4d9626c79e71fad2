"""Many runs in one program: `vmap` trains seeds, or values of scalar options, side by side.

Each replica has its own folder, data order, dropout, early stopping and results, as if it had run
alone; replicas share only the compiled steps. Their tables are not sharded: all lie on one device.
"""

from __future__ import annotations

import contextlib
import math
import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dtn_jax.checkpoint import Checkpoints
from dtn_jax.config.replica_options import parse_replicas, replica_config
from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.data.epochs.streamed import StreamedData
from dtn_jax.errors import UserError
from dtn_jax.loss_log import LossLog
from dtn_jax.parallel import memory
from dtn_jax.parallel.fits import LOWER, check_fits
from dtn_jax.report import screen
from dtn_jax.report.description.overview import unknown_ids
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.results import conclude, mend_predictions, show_replicas
from dtn_jax.run import Run, build_model, build_run
from dtn_jax.selection import score_day, tell_of_end
from dtn_jax.step import make_train_chunk, make_train_step
from dtn_jax.tables import huge_pages
from dtn_jax.train import make_watch, pause, start, tell_of_losses, training_data
from dtn_jax.workdir import Workdir, nonfinite
from dtn_jax.workdir.faults import Unusable


def train_replicas(
    config: ConfigDict, workdir: str | pathlib.Path, *, test: bool = True
) -> list[dict]:
    """Trains the replicas that `config.replicas` names, and returns the results of each.

    The same call on the same folder resumes. `train` can also resume one folder, `replica_I`, with
    that replica's config.

    Args:
      config: see configs/base.py; `parallel.devices` counts as 1.
      workdir: the folder of `replica_0`, `replica_1`, ….
      test: as in `train`.
    """
    if config.train.start_from:
        raise UserError(
            "train.start_from does not go with replicas: start each run alone, from the workdir "
            "of one run"
        )
    settings = parse_replicas(config)
    root = pathlib.Path(workdir).expanduser()
    if (root / "config.json").exists():
        raise Unusable(
            f"workdir {root} holds a single run; name another folder for replicas, such as "
            f"{root}_seeds"
        )
    first = build_run(replica_config(config, settings[0]))
    first.check_model()
    check_fits(first, len(settings))
    tell_of_losses(first)
    with memory.told(f"replicas, {LOWER}"), contextlib.ExitStack() as stack:
        members = [
            Member(replica_config(config, given), root / f"replica_{i}", stack)
            for i, given in enumerate(settings)
        ]
        training = [m for m in members if not m.finished(test)]
        if training and test:
            screen.say(unknown_ids(first.data))
        fit(training)
        for m in training:
            if not m.failure:
                m.results = conclude(m.run, m.folder, m.checkpoints, m.state, m.progress, test)
    failures = [m.failure for m in members if m.failure]
    if failures:
        others = len(members) - len(failures)
        raise UserError("\n".join([*failures, f"The other {others} replicas are finished."]))
    results = [member.results for member in members]
    show_replicas(results, settings, members[0].run, root)
    tell_of_end(results, members[0].run)
    return results


class Member:
    """A replica: its run, folder, checkpoints, state and progress, and what has ended it."""

    def __init__(self, config: ConfigDict, path: pathlib.Path, stack: contextlib.ExitStack):
        self.run: Run = build_run(config)
        self.run.check_model()
        self.folder = Workdir(path, self.run.config, self.run.schema, self.run.data.fingerprint)
        stack.enter_context(contextlib.closing(self.folder))
        self.results, self.failure = self.folder.results(), ""
        checkpoints = Checkpoints(self.folder.path, self.run.plan)
        self.checkpoints = stack.enter_context(contextlib.closing(checkpoints))

    def start(self, step: int | None) -> None:
        """Takes state and progress from a checkpoint, None for the last, or begins anew."""
        self.state = None  # frees what an earlier start has read
        self.state, self.progress = start(self.run, self.folder, self.checkpoints, step)

    @contextlib.contextmanager
    def by_itself(self, rows: ResidentData | StreamedData) -> Iterator[None]:
        """An error inside ends this replica, and no other."""
        try:
            with nonfinite.told(self.run, self.folder, self.checkpoints, rows):
                yield
        except UserError as error:
            self.failure, self.progress.stopped = f"{self.folder.path}: {error}", True

    def finished(self, test: bool) -> bool:
        """Whether it has its results, on `test` too if that is asked for."""
        done = self.results is not None and ("test" in self.results or not test)
        if done and test:
            mend_predictions(self.run, self.folder, self.results)
        return done

    @property
    def done(self) -> bool:
        """Whether its training has ended: at the last step, early, or by a failure."""
        return self.progress.stopped or int(self.state.step) == self.run.total_steps


def fit(members: list[Member]) -> None:
    """The training loop of `train.fit` for all members at once; leaves each with its last state."""
    start_together(members)
    active = [m for m in members if not m.done]
    if not active:
        return
    if jax.default_backend() == "cpu":
        screen.say(
            f"Training {len(active)} replicas in one program. On a CPU this can take up to 30 % "
            "longer than one after another."
        )
    first = active[0].run
    step, batch_size = int(active[0].state.step), first.config.data.batch_size
    states = jax.tree.map(lambda *a: jnp.stack(a), *(m.state for m in active))
    for member in active:
        member.state = None  # frees the tables, which `states` holds now
    huge_pages.use((states.tables, states.slots))
    train_chunk = compile_together([m.run for m in active])
    epochs = math.ceil(first.total_steps / first.steps_per_epoch)
    may_stop = first.config.train.patience > 0
    bar = ProgressBar(first.total_steps, epochs, step, may_stop=may_stop)
    with bar, contextlib.ExitStack() as stack:
        sources = [training_data(first, orders=len(active))]
        for member in active[1:]:
            sources.append(sources[0] if sources[0].shared else training_data(member.run))
        for source in sources:
            stack.callback(source.close)
        logs = [
            LossLog(m.run, m.folder, m.progress, bar if m is active[0] else None) for m in active
        ]
        watches = [make_watch(m.run) for m in active]
        for i, m in enumerate(active if step in first.at_steps.first_steps else ()):
            with m.by_itself(sources[i]):
                own = jax.tree.map(lambda a, i=i: a[i], states)
                score_day(m.run, m.folder, own, step, m.progress, logs[i].bar)
        while step < first.total_steps and not all(m.progress.stopped for m in active):
            epoch, position = divmod(step, first.steps_per_epoch)
            count = first.at_steps.steps_to_next_stop(step)
            chunks = [
                rows.chunk(m.run.config.seed, epoch, position, count, batch_size)
                for rows, m in zip(sources, active)
            ]
            chunk = jax.tree.map(lambda *a: jnp.stack(a), *chunks)
            states, metrics = train_chunk(states, chunk, count)
            step += count
            due = first.at_steps.checkpoint_is_due(step)
            going = [i for i, m in enumerate(active) if not m.progress.stopped]
            for i in going:  # a stopped one still steps with the others, but nobody looks at it
                with active[i].by_itself(sources[i]):
                    logs[i].add(step, jax.tree.map(lambda a, i=i: a[i], metrics), count)
                    if due:  # before any replica's validation, which is not training time
                        logs[i].fetch(leave=0)
            for i in going if due else ():
                m, state = active[i], jax.tree.map(lambda a, i=i: a[i], states)
                if not m.failure:
                    with m.by_itself(sources[i]):
                        pause(m.run, m.folder, m.checkpoints, logs[i], watches[i], state, step)
                if m.progress.stopped or step == first.total_steps:
                    m.state = state


def start_together(members: list[Member]) -> None:
    """Starts all members; those that resume do so at a step of which all have a checkpoint.

    If a process dies between two members' saves, some are a checkpoint ahead; a damaged checkpoint
    leaves a member behind.

    Raises:
      UserError: they have no checkpoint in common, unless there are only the first ones.
    """
    for member in members:
        member.start(None)
    going = [m for m in members if not m.progress.stopped]
    if len({int(m.state.step) for m in going}) <= 1:
        return
    whole = [m.checkpoints.steps() for m in going]
    common = set.intersection(*map(set, whole))
    if not common and len(set.union(*map(set, whole))) > 1:
        raise UserError(
            "these replicas have no checkpoint in common, so they cannot resume together: "
            + ", ".join(f"{m.folder.path.name} at {s or 'none'}" for m, s in zip(going, whole))
            + "; resume each by a call of its own, with its config and its folder as the workdir"
        )
    for member, steps in zip(going, whole):
        if not common:  # cut while the first checkpoints were written
            for step in steps:
                member.checkpoints.drop(step)
        member.start(max(common) if common else None)


def compile_together(runs: list[Run]):
    """`(states, chunks, count) -> (states, metrics)`, each with a leading axis of replicas."""
    first = runs[0]
    config = ConfigDict(first.config.to_dict())
    for rate in ("dropout", "embedding_dropout"):  # a model with rate 0 has no dropout for any
        config.model[rate] = max(run.config.model[rate] for run in runs)
    step = make_train_step(
        first.config,
        build_model(config, first.schema),
        first.plan,
        first.total_steps,
    )
    chunk = make_train_chunk(step, CHUNK_STEPS, stops=False)
    together = jax.vmap(chunk, in_axes=(0, 0, None))
    return jax.jit(together, donate_argnums=0)
