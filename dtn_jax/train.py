"""train(config, workdir): the story of a run, from prepared data to results.json."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from dtn_jax.analysis.watch import Watch
from dtn_jax.balancing import NONE
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.checkpoint.start_from import first_state, started
from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.data.epochs.streamed import StreamedData
from dtn_jax.errors import UserError
from dtn_jax.loss_log import LossLog
from dtn_jax.losses import improper, scales
from dtn_jax.parallel import memory, processes
from dtn_jax.parallel.fits import LOWER, check_fits, is_resident
from dtn_jax.report import screen
from dtn_jax.report.description.overview import unknown_ids
from dtn_jax.report.profile import Profile
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.results import conclude, mend_predictions, show
from dtn_jax.run import Run, build_run
from dtn_jax.selection import Progress, score_day, tell_of_end, validate
from dtn_jax.state import State
from dtn_jax.step import make_train_chunk, make_train_step
from dtn_jax.tables import huge_pages
from dtn_jax.workdir import Workdir, check_logits, nonfinite

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

    Raises:
      UserError: config, data or folder are wrong; the message says what was expected.
    """
    run = started(build_run(config), workdir)
    run.check_model()  # one that cannot be built claims no folder
    if not (pathlib.Path(workdir).expanduser() / "results.json").exists():
        check_fits(run)
        tell_of_weights(run)
        tell_of_losses(run)
        if test:  # else every trial of a search would say it
            screen.say(unknown_ids(run.data))
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
                state, progress = start(run, folder, checkpoints)
                state = fit(run, folder, checkpoints, state, progress, after_validation, profiled)
                results = conclude(run, folder, checkpoints, state, progress, test)
    show(results, run.schema, folder.path)
    if test:
        tell_of_end([results], run)
    return results


def start(
    run: Run, folder: Workdir, checkpoints: Checkpoints, step: int | None = None
) -> tuple[State, Progress]:
    """The state of the last checkpoint (or of that of `step`), or a new one; cuts logs to match.

    A new one that is another run's is saved at once: the run no longer needs that one.
    """
    check_logits(folder.path / "config.json")
    found = checkpoints.restore(run.state_places, step)
    if found:
        state, progress = found[0], read_progress(run, checkpoints, *found)
        screen.say(f"Resuming at step {run.step_of(state)} of {run.total_steps}.")
    else:  # only now: two sets of tables need not fit
        # Where memory runs out this raises; to read a number of the state would wait for ever.
        state = jax.block_until_ready(first_state(run) if run.started else run.new_state())
        progress = Progress({}, 0, False, [0.0] * len(run.schema.tasks), 0)
        if run.started:
            screen.say(f"Starting from {run.started.workdir}, at its step {run.started.step}.")
            checkpoints.save(0, state, dataclasses.asdict(progress))
    folder.resume_log_at(run.step_of(state) or BEFORE)
    huge_pages.use((state.tables, state.slots))
    return state, progress


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


def read_progress(run: Run, checkpoints: Checkpoints, state: State, saved: object) -> Progress:
    """That of a checkpoint; raises UserError where it cannot be of this run."""
    step, newest = run.step_of(state), max(checkpoints.last.all_steps())
    try:
        if step != newest:
            raise UserError(f"it holds the state of step {step}")
        if step > run.total_steps:
            raise UserError(f"its step is beyond the end of this run, {run.total_steps}")
        return Progress.read(saved)
    except UserError as error:
        path = checkpoints.folder / "last" / str(newest)
        raise UserError(
            f"checkpoint {path} cannot be used: {error}. Move it away: the run goes on from an "
            "older one, or anew"
        ) from None


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


def fit(
    run: Run,
    folder: Workdir,
    checkpoints: Checkpoints,
    state: State,
    progress: Progress,
    after_validation: AfterValidation | None,
    profiled: Profile,
) -> State:
    """The training loop: chunks of steps, validations, checkpoints."""
    config, batch_size = run.config, run.config.data.batch_size
    step = run.step_of(state)
    if step == run.total_steps or progress.stopped:  # only the results are missing
        return state
    step_function = make_train_step(
        config, run.model, run.plan, run.total_steps, run.at.table_mesh, run.first
    )
    chunk_function = make_train_chunk(step_function, CHUNK_STEPS, not config.train.skip_nonfinite)
    train_chunk = run.at.compile(chunk_function, state)
    epochs = math.ceil(run.total_steps / run.steps_per_epoch)
    bar = ProgressBar(run.total_steps, epochs, step, may_stop=config.train.patience > 0)
    data = contextlib.closing(training_data(run))
    with bar, data as rows, nonfinite.told(run, folder, checkpoints, rows):
        log, watch = LossLog(run, folder, progress, bar), make_watch(run)
        score_day(run, folder, state, step, progress, bar)  # the first one
        while step < run.total_steps and not progress.stopped:
            epoch, position = divmod(step, run.steps_per_epoch)
            count = profiled.at_most(run.at_steps.steps_to_next_stop(step))
            chunk = rows.chunk(config.seed, epoch, position, count, batch_size)
            state, losses = train_chunk(state, run.at.put(chunk, run.at.chunk()), count)
            step += count
            log.add(step, losses, count)
            if profiled.add(losses, count):
                log.fetch(leave=0)  # writing the trace is not training time
            if run.at_steps.checkpoint_is_due(step):
                pause(run, folder, checkpoints, log, watch, state, step, after_validation)
        profiled.end()
    return state


def make_watch(run: Run) -> Watch | None:
    """What looks at gates and gradients at each validation; None if `analysis.rows` is 0."""
    if not run.config.analysis.rows:
        return None
    return Watch(run.config, run.data, run.model, run.plan, run.at)


def pause(
    run: Run,
    folder: Workdir,
    checkpoints: Checkpoints,
    log: LossLog,
    watch: Watch | None,
    state: State,
    step: int,
    after_validation: AfterValidation | None = None,
) -> None:
    """Does what is due between two chunks: validation, analysis, early stopping, the scores of a
    day that begins, a checkpoint."""
    progress = log.progress
    log.fetch(leave=0)
    nonfinite.check_state(state, step)
    if run.at_steps.validation_is_due(step):
        found = validate(run, folder, checkpoints, state, step, progress)
        if watch:
            folder.log(watch.record(state, step, step / run.steps_per_epoch))
        if progress.stopped:
            log.write(step)
        elif after_validation and step < run.total_steps:  # before a checkpoint leaves it behind
            after_validation(step // run.at_steps.eval_every, found)
    if not progress.stopped:
        score_day(run, folder, state, step, progress, log.bar)
    checkpoints.save(step, state, dataclasses.asdict(progress))
