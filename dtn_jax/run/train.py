"""train(config, workdir): the story of a run, from prepared data to results.json."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from dtn_jax.analysis.watch import Watch
from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.data.epochs.streamed import StreamedData
from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.losses.notes import notes
from dtn_jax.parallel import memory, processes
from dtn_jax.parallel.fits import LOWER, check_fits, is_resident
from dtn_jax.parallel.preemption import Notices
from dtn_jax.report import screen
from dtn_jax.report.profile import Profile
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.run import nonfinite, outcome
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.loss_log import LossLog
from dtn_jax.run.results import conclude, show
from dtn_jax.run.run import Run, build_run
from dtn_jax.run.selection import Progress, score_day, tell_of_end, validate
from dtn_jax.run.start_from import first_state, started
from dtn_jax.run.state import State
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.run.workdir import Workdir
from dtn_jax.tables import huge_pages

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
    run.check_model()  # one that cannot be built claims no folder, and nor does one that is too big
    if not (pathlib.Path(workdir).expanduser() / "results.json").exists():
        check_fits(run)
        tell_of_rows(run)
    with contextlib.closing(Member(run, workdir)) as member, memory.told(LOWER):
        with Profile(member.folder.path / "profile", profile) as profiled:
            if member.finished(test):
                screen.say("This run is finished. Its results:")
            else:
                member.start()
                fit([member], alone, Notices(preemptible), after_validation, profiled)
                member.conclude(test)
        show(member.results, run.schema, member.folder.path)
    if test:
        tell_of_end([member.results], run)
    return member.results


def tell_of_rows(run: Run) -> None:
    """Says what of train's labels and weights is likely to spoil results."""
    for line in notes(run.config.loss, run.losses, run.data, run.schema):
        screen.say(line)


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
    run = member.run
    step = make_train_step(
        run.config, run.model, run.plan, run.total_steps, run.at.table_mesh, run.first
    )
    chunk = run.at.compile(make_train_chunk(step, CHUNK_STEPS), member.state)

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
    """The training loop, of one run or of several side by side: chunks of steps, and between them
    validations and checkpoints. It leaves each with its last state.

    Args:
      members: they are started, at the same step.
      steps_of: `alone`, or `replicas.side_by_side`.
      notices: of signals that end the run.
      after_validation, profiled: as in `train`.
    """
    members = [m for m in members if not m.done]
    if not members:  # only the results are missing
        return
    run, folder = members[0].run, members[0].folder.path
    profiled = profiled or Profile(folder, 0)
    step, leaving = run.step_of(members[0].state), False
    train_chunk, state, part = steps_of(members)
    huge_pages.use((state.tables, state.slots))
    with notices:
        epochs = math.ceil(run.total_steps / run.steps_per_epoch)
        bar = ProgressBar(run.total_steps, epochs, step, may_stop=run.config.train.patience > 0)
        with bar, reading(members, bar):
            while step < run.total_steps and not leaving:
                going = [m for m in members if not m.progress.stopped]
                if not going:
                    break
                # A chunk of steps. One that has stopped steps with the others; nobody looks at it.
                count = profiled.at_most(run.at_steps.steps_to_next_stop(step))
                batches = [m.batches(step, count) for m in members]
                state, metrics = train_chunk(state, batches, count)
                step += count
                for m in going:
                    with m.by_itself():
                        m.log.add(step, part(metrics, m.place), count)
                # Between two chunks: what is done here is not training time.
                traced, leaving = profiled.add(metrics, count), notices.due()
                pauses = leaving or run.at_steps.checkpoint_is_due(step)
                for m in going if traced or pauses else ():
                    with m.by_itself():  # a state whose losses are not finite is not to be saved
                        m.log.fetch(leave=0)
                for m in going if pauses else ():
                    m.pause(part(state, m.place), step, after_validation)
            profiled.end()
            leaving = leaving or notices.due()
        if leaving:  # below the progress bar's last line
            folder = folder.parent if members[0].beside_others else folder
            notices.leave(step, run.total_steps, folder)


@contextlib.contextmanager
def reading(members: Sequence[Member], bar: ProgressBar) -> Iterator[None]:
    """Inside, members have their rows of train, and a log; the bar shows the first one's."""
    with contextlib.ExitStack() as stack:
        for place, m in enumerate(members):
            m.place, m.state = place, None  # the joint state alone holds the tables
            shared = place and members[0].rows.shared
            m.rows = members[0].rows if shared else training_data(m.run, len(members))
            stack.callback(m.rows.close)
            m.log = LossLog(m.run, m.folder, m.progress, None if place else bar)
            if m.run.config.analysis.rows:
                m.watch = Watch(m.run.config, m.run.data, m.run.model, m.run.plan, m.run.at)
        yield


def training_data(run: Run, orders: int = 1) -> ResidentData | StreamedData:
    """The train split: on the device if it fits there, else streamed from disk.

    Args:
      run: gives data, placement and limits.
      orders: the number of seeds whose orders are read in turns.

    Raises:
      UserError: several processes, and `data.placement=device`.
    """
    if run.config.data.placement == "device" and jax.process_count() > 1:
        raise UserError("data.placement=device needs one process; several stream their rows")
    if is_resident(run):
        return ResidentData(run.data, "train", run.at.replicated(), orders, run.days, run.grouped)
    epochs = math.ceil(run.total_steps / run.steps_per_epoch)
    return StreamedData(run.data, "train", epochs, run.days, run.grouped)


class Member:
    """A run that trains in its folder, by itself or beside others in one program.

    Attributes:
      results: those of the run, once it has them.
      state, progress: what `start` gave; after `fit` those of its last step.
      failure: what has ended it while the others go on; '' where nothing has.
      place: among those that train; the rest is what it has while it does: its data, what takes
        its losses, and what looks at gates and gradients at each validation, if anything does.
    """

    def __init__(self, run: Run, workdir: str | pathlib.Path, beside_others: bool = False):
        self.run, self.beside_others = run, beside_others
        facts = run.config, run.schema, run.data.fingerprint, run.started, run.total_steps
        self.folder = processes.first_alone(lambda: Workdir(workdir, *facts))
        self.closing = contextlib.ExitStack()
        self.closing.callback(self.folder.close)
        self.results: dict | None = None
        self.state: State | None = None
        self.progress: Progress | None = None
        self.failure, self.place = "", 0
        self.rows: ResidentData | StreamedData | None = None
        self.log: LossLog | None = None
        self.watch: Watch | None = None

    def close(self) -> None:
        """Frees its folder and what is open in it."""
        self.closing.close()

    def finished(self, test: bool) -> bool:
        """Whether it has its results, on `test` too if that is asked for."""
        self.results = outcome.read(self.folder.path)
        return self.results is not None and ("test" in self.results or not test)

    @functools.cached_property
    def checkpoints(self) -> Checkpoints:
        """Those of its folder, opened at the first use."""
        checkpoints = Checkpoints(self.folder.path, self.run.plan)
        return self.closing.enter_context(contextlib.closing(checkpoints))

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
        saved = self.checkpoints.restore(run.state_places, step)
        if saved:
            self.state, self.progress = saved[0], Progress(**saved[1])
            screen.say(f"Resuming at step {run.step_of(self.state)} of {run.total_steps}.")
        else:  # only now: two sets of tables need not fit
            # Where memory runs out this raises; to read a number of the state would wait for ever.
            new = first_state(run) if run.started else run.new_state()
            self.state = jax.block_until_ready(new)
            self.progress = Progress({}, 0, False, [0.0] * len(run.schema.tasks), 0)
            if run.started:
                screen.say(f"Starting from {run.started.workdir}, at its step {run.started.step}.")
                self.save(0, self.state)
        begun = run.step_of(self.state)
        self.folder.resume_log_at(begun)
        score_day(run, self.folder, self.state, begun, self.progress)

    def batches(self, step: int, count: int) -> Batch:
        """The next `count` steps' batches."""
        epoch, position = divmod(step, self.run.steps_per_epoch)
        config = self.run.config
        return self.rows.chunk(config.seed, epoch, position, count, config.data.batch_size)

    def pause(self, state: State, step: int, after_validation: AfterValidation | None) -> None:
        """Does what is due between two chunks: validation, analysis, early stopping, the scores of
        a day that begins, a checkpoint."""
        run, progress = self.run, self.progress
        if self.failure:
            return
        with self.by_itself():
            if run.at_steps.validation_is_due(step):
                values = validate(run, self.folder, self.checkpoints, state, step, progress)
                if self.watch:
                    self.folder.log(self.watch.record(state, step, step / run.steps_per_epoch))
                if progress.stopped:
                    self.log.write(step)
                elif after_validation and step < run.total_steps:
                    # Before a checkpoint leaves this validation behind.
                    after_validation(step // run.at_steps.eval_every, values)
            score_day(run, self.folder, state, step, progress)
            self.save(step, state)
        if progress.stopped or step == run.total_steps:
            self.state = state

    def save(self, step: int, state: State) -> None:
        """Saves a checkpoint where one is due; raises UserError if the state is not finite."""
        nonfinite.check_state(state, step)
        self.checkpoints.save(step, state, dataclasses.asdict(self.progress))

    @contextlib.contextmanager
    def by_itself(self) -> Iterator[None]:
        """An error inside ends this run; others beside it go on."""
        try:
            with nonfinite.told(self.run, self.folder, self.checkpoints, self.rows):
                yield
        except UserError as error:
            if not self.beside_others:
                raise
            self.failure, self.progress.stopped = f"{self.folder.path}: {error}", True

    def conclude(self, test: bool) -> None:
        """Scores the best states, and writes results.json."""
        given = self.run, self.folder, self.checkpoints, self.state, self.progress
        self.results = conclude(*given, test)
        self.state = None
