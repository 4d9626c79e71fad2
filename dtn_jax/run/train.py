"""train(config, workdir): the story of a run, from prepared data to results.json."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from dtn_jax.analysis.watch import Watch
from dtn_jax.balancing import NONE
from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.data.epochs.streamed import StreamedData
from dtn_jax.errors import UserError
from dtn_jax.losses import improper, scales
from dtn_jax.parallel import memory, processes
from dtn_jax.parallel.fits import LOWER, check_fits, is_resident
from dtn_jax.parallel.preemption import Notices
from dtn_jax.report import screen
from dtn_jax.report.profile import Profile
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.run import nonfinite
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.loss_log import LossLog
from dtn_jax.run.results import conclude, mend_predictions, show
from dtn_jax.run.run import Run, build_run
from dtn_jax.run.selection import Progress, score_day, tell_of_end, validate
from dtn_jax.run.start_from import first_state, started
from dtn_jax.run.state import State
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.run.workdir import Workdir
from dtn_jax.tables import huge_pages

LOOKED_AT = 100_000  # rows
BEFORE = -1  # all steps: a run that has no checkpoint logs all anew
AfterValidation = Callable[[int, dict[str, float | None]], None]


def train(
    config: ConfigDict,
    workdir: str | pathlib.Path,
    *,
    test: bool = True,
    after_validation: AfterValidation | None = None,
    profile: int = 0,
    preemptible: bool = False,
) -> dict:
    """Trains, evaluates and returns what results.json holds.

    The same call on the same folder resumes bit-for-bit, or returns the results of the finished
    run.

    Args:
      config: see configs/base.py.
      workdir: the run's folder; created if it does not exist.
      test: False for a trial of a search: the run does not open the test split, and the results
        hold only validation metrics.
      after_validation: called after each validation but the last with its number, from 1, and
        {`train.select` and each task: its value, see `validate`}; what it raises ends the run.
      profile: steps to record a trace of, in the folder's `profile/`; changes no result.
      preemptible: SIGTERM and Ctrl-C end the run after the steps in flight, which are saved.

    Raises:
      Preempted: they have; a SystemExit with the code 143, or 130 after Ctrl-C.
      UserError: config, data or folder are wrong; the message says what was expected.
    """
    run = started(build_run(config), workdir)
    run.check_model()  # one that cannot be built claims no folder
    if not (pathlib.Path(workdir).expanduser() / "results.json").exists():
        check_fits(run)
        tell_of_weights(run)
        tell_of_losses(run)
    folder = processes.first_alone(
        lambda: Workdir(workdir, run.config, run.schema, run.data.fingerprint, run.started)
    )
    profiled = Profile(folder.path / "profile", profile)
    with contextlib.closing(folder), memory.told(LOWER), profiled:
        results = folder.results()
        if results and ("test" in results or not test):
            if test:
                mend_predictions(run, folder, results)
            screen.say("This run is finished. Its results:")
        else:
            with contextlib.closing(Checkpoints(folder.path, run.plan)) as checkpoints:
                member = Member(run, folder, checkpoints)
                member.start()
                fit([member], alone, Notices(preemptible), after_validation, profiled)
                results = conclude(run, folder, checkpoints, member.state, member.progress, test)
    show(results, run.schema, folder.path)
    if test:
        tell_of_end([results], run)
    return results


@dataclasses.dataclass
class Member:
    """A run that trains, by itself or beside others in one program.

    Attributes:
      state, progress: what `start` gave; after `fit` those of its last step.
      failure: what has ended it while the others go on; '' where nothing has.
      rows, log, watch: while it trains, its data, what takes its losses, and what looks at gates
        and gradients at each validation, if anything does.
    """

    run: Run
    folder: Workdir
    checkpoints: Checkpoints
    state: State | None = None
    progress: Progress | None = None
    failure: str = ""
    rows: ResidentData | StreamedData | None = None
    log: LossLog | None = None
    watch: Watch | None = None

    @property
    def done(self) -> bool:
        """Whether its training has ended: at the last step, early, or by a failure."""
        return self.progress.stopped or self.run.step_of(self.state) == self.run.total_steps

    def start(self, step: int | None = None) -> None:
        """Takes the state of the last checkpoint (or of that of `step`), or a new one; cuts logs to
        match.

        A new one that is another run's is saved at once: the run no longer needs that one.
        """
        run, self.state = self.run, None  # frees what an earlier start has read
        found = self.checkpoints.restore(run.state_places, step)
        if found:
            self.state, self.progress = found[0], Progress.read(found[1])
            screen.say(f"Resuming at step {run.step_of(self.state)} of {run.total_steps}.")
        else:  # only now: two sets of tables need not fit
            # Where memory runs out this raises; to read a number of the state would wait for ever.
            new = first_state(run) if run.started else run.new_state()
            self.state = jax.block_until_ready(new)
            self.progress = Progress({}, 0, False, [0.0] * len(run.schema.tasks), 0)
            if run.started:
                screen.say(f"Starting from {run.started.workdir}, at its step {run.started.step}.")
                self.checkpoints.save(0, self.state, dataclasses.asdict(self.progress))
        self.folder.resume_log_at(run.step_of(self.state) or BEFORE)

    @contextlib.contextmanager
    def by_itself(self, alone: bool) -> Iterator[None]:
        """An error inside ends this run; unless it is `alone`, the others go on."""
        try:
            with nonfinite.told(self.run, self.folder, self.checkpoints, self.rows):
                yield
        except UserError as error:
            if alone:
                raise
            self.failure, self.progress.stopped = f"{self.folder.path}: {error}", True

    def pause(self, state: State, step: int, after_validation: AfterValidation | None) -> None:
        """Does what is due between two chunks: validation, analysis, early stopping, the scores of
        a day that begins, a checkpoint."""
        run, folder, progress = self.run, self.folder, self.progress
        nonfinite.check_state(state, step)
        if run.at_steps.validation_is_due(step):
            found = validate(run, folder, self.checkpoints, state, step, progress)
            if self.watch:
                folder.log(self.watch.record(state, step, step / run.steps_per_epoch))
            if progress.stopped:
                self.log.write(step)
            elif after_validation and step < run.total_steps:  # before a checkpoint is left behind
                after_validation(step // run.at_steps.eval_every, found)
        if not progress.stopped:
            score_day(run, folder, state, step, progress, self.log.bar)
        self.checkpoints.save(step, state, dataclasses.asdict(progress))


def tell_of_weights(run: Run) -> None:
    """Says it where rows have weights, and those of the first rows are all equal."""
    if not run.config.loss.sample_weights or not processes.is_first():
        return
    rows = SplitReader(run.data, "train").between(0, min(LOOKED_AT, run.data.rows["train"]))
    weights = rows.in_loss()
    if (weights == weights[0]).all():
        screen.say(
            f"note: loss.sample_weights=True changes nothing where all weights are equal: the "
            f"first {len(weights):,} of train are all {weights[0]:g}"
        )


def tell_of_losses(run: Run) -> None:
    """Says of which tasks scores are no probabilities, and which loss dwarfs the others."""
    if not processes.is_first():
        return
    lines = [*improper.notes(run.losses, run.schema)]
    kinds = {task.kind for task in run.schema.tasks}
    if len(kinds) > 1 and run.config.loss.balancing == NONE:
        rows = SplitReader(run.data, "train").between(0, min(LOOKED_AT, run.data.rows["train"]))
        weights = run.config.loss.task_weights
        lines += scales.notes(run.losses, weights, run.schema, rows.labels, rows.label_mask)
    for line in lines:
        screen.say(line)


def training_data(run: Run, orders: int = 1) -> ResidentData | StreamedData:
    """The train split: on the device if it fits there, else streamed from disk.

    Args:
      run: gives data, placement and limits.
      orders: the number of seeds whose orders are read in turns.

    Raises:
      UserError: several processes, and `data.placement=device`.
    """
    if run.config.data.placement == "device" and jax.process_count() > 1:
        raise UserError(
            "data.placement=device needs one process; several processes stream their rows: leave "
            "it at auto, or give stream"
        )
    if is_resident(run):
        return ResidentData(run.data, "train", run.at.replicated(), orders, run.days, run.grouped)
    epochs = math.ceil(run.total_steps / run.steps_per_epoch)
    return StreamedData(run.data, "train", epochs, run.days, run.grouped)


class Steps(NamedTuple):
    """How runs step: one on all devices, or several side by side.

    Attributes:
      chunk: `(state, a chunk of batches of each run, count) -> (state, metrics)`, of all runs.
      state: what `chunk` takes: the states of all.
      part: `(state or metrics, i)` -> those of the i-th run.
    """

    chunk: Callable
    state: State
    part: Callable


def alone(members: Sequence[Member]) -> Steps:
    """The steps of one run, on all devices."""
    (member,) = members
    run, skips = member.run, member.run.config.train.skip_nonfinite
    step = make_train_step(
        run.config, run.model, run.plan, run.total_steps, run.at.table_mesh, run.first
    )
    chunk = run.at.compile(make_train_chunk(step, CHUNK_STEPS, not skips), member.state)

    def train_chunk(state, batches, count):
        return chunk(state, run.at.put(batches[0], run.at.chunk()), count)

    return Steps(train_chunk, member.state, lambda whole, _: whole)


def fit(
    members: Sequence[Member],
    steps_of: Callable[[Sequence[Member]], Steps],
    notices: Notices,
    after_validation: AfterValidation | None = None,
    profiled: Profile | None = None,
) -> None:
    """The training loop, of one run or of several side by side: chunks of steps, validations,
    checkpoints. It leaves each with its last state.

    Args:
      members: they are started, at the same step.
      steps_of: `alone`, or `replicas.side_by_side`.
      notices: of signals that end the run.
      after_validation, profiled: as in `train`.
    """
    active = [m for m in members if not m.done]
    if not active:  # only the results are missing
        return
    first, profiled = active[0].run, profiled or Profile(members[0].folder.path, 0)
    step, size = first.step_of(active[0].state), first.config.data.batch_size
    train_chunk, state, part = steps_of(active)
    for member in active:
        member.state = None  # `state` alone holds the tables
    huge_pages.use((state.tables, state.slots))
    epochs = math.ceil(first.total_steps / first.steps_per_epoch)
    bar = ProgressBar(first.total_steps, epochs, step, may_stop=first.config.train.patience > 0)
    single = len(members) == 1
    with bar, contextlib.ExitStack() as stack, notices:
        for i, m in enumerate(active):
            shared = i and active[0].rows.shared
            m.rows = active[0].rows if shared else training_data(m.run, len(active))
            stack.callback(m.rows.close)
            m.log = LossLog(m.run, m.folder, m.progress, None if i else bar)
            if m.run.config.analysis.rows:
                m.watch = Watch(m.run.config, m.run.data, m.run.model, m.run.plan, m.run.at)
            with m.by_itself(single):
                if step in first.at_steps.first_steps:
                    score_day(m.run, m.folder, part(state, i), step, m.progress, m.log.bar)
        ends = False
        while step < first.total_steps and not (ends or all(m.progress.stopped for m in active)):
            epoch, position = divmod(step, first.steps_per_epoch)
            count = profiled.at_most(first.at_steps.steps_to_next_stop(step))
            batches = [
                m.rows.chunk(m.run.config.seed, epoch, position, count, size) for m in active
            ]
            state, metrics = train_chunk(state, batches, count)
            step += count
            # A stopped one still steps with the others, but nobody looks at it.
            going = [(i, m) for i, m in enumerate(active) if not m.progress.stopped]
            for i, m in going:
                with m.by_itself(single):
                    m.log.add(step, part(metrics, i), count)
            due = profiled.add(metrics, count)  # writing the trace is not training time
            ends = notices.due()
            pauses = ends or first.at_steps.checkpoint_is_due(step)
            for _, m in going if due or pauses else ():  # before any run's validation, which is
                with m.by_itself(single):  # not training time
                    m.log.fetch(leave=0)
            for i, m in going if pauses else ():
                own = part(state, i)
                if not m.failure:
                    with m.by_itself(single):
                        m.pause(own, step, after_validation)
                if m.progress.stopped or step == first.total_steps:
                    m.state = own
        profiled.end()
        ends = ends or notices.due()
    if ends:  # below the progress bar's last line
        folder = members[0].folder.path
        notices.leave(step, first.total_steps, folder if single else folder.parent)
