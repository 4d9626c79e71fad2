"""train(config, workdir): the story of a run, from prepared data to results.json."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import pathlib
import time

import jax
import numpy as np
import rich
from flax import linen as nn
from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax import architectures, datasets, flops, metrics, options, plots, report
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.embedding import TablePlan, make_plan
from dtn_jax.evaluate import Scores, calibration, evaluate, score, write_predictions
from dtn_jax.input_pipeline import CHUNK_STEPS, ResidentData, StreamedData, steps_per_epoch
from dtn_jax.progress import Progress as ProgressBar
from dtn_jax.schema import Schema, UserError, choose, per_task, task_graph
from dtn_jax.sharding import Placement, make_placement
from dtn_jax.state import State, create_state, example_inputs
from dtn_jax.step import make_score_step, make_train_chunk, make_train_step
from dtn_jax.workdir import Workdir

MEAN = "mean"  # model selection by the mean over tasks


def train(config: ConfigDict, workdir: str | pathlib.Path, *, test: bool = True) -> dict:
    """Trains, evaluates and returns what results.json holds.

    The same call on the same folder goes on where it stopped, bit by bit, or returns the results
    of the finished run.

    Args:
      config: see configs/base.py.
      workdir: the run's folder; made if it is not there.
      test: False for a trial of a search: the test split is not opened, and the results hold
        what validation says alone.

    Raises:
      UserError: config, data or folder are wrong; the message says what was expected.
    """
    run = build_run(config)
    folder = Workdir(workdir, run.config, run.data.schema, run.data.fingerprint)
    results = folder.results()
    if results and ("test" in results or not test):
        rich.print(f"[bold]{folder.path} is finished[/]: these are its results.")
        show(results, run.schema)
        return results
    with contextlib.closing(folder), contextlib.closing(Checkpoints(folder.path)) as checkpoints:
        state, progress = start(run, folder, checkpoints)
        state = fit(run, folder, checkpoints, state, progress)
        results = conclude(run, folder, checkpoints, state, progress, test)
    show(results, run.schema)
    return results


@dataclasses.dataclass(frozen=True)
class Run:
    """What a config means on its data set, before any array exists."""

    config: FrozenConfigDict
    data: datasets.Prepared
    schema: Schema
    model: nn.Module
    plan: TablePlan
    at: Placement
    steps_per_epoch: int
    total_steps: int

    @functools.cached_property
    def score_step(self):
        return jax.jit(make_score_step(self.model, self.plan))

    @property
    def size(self) -> flops.Size:
        """Dense parameters (codebooks included), and forward FLOPs of one example."""
        size = flops.count(self.model, jax.eval_shape(lambda: example_inputs(self.plan)))
        codebooks = self.plan.codebooks * self.plan.codebook_rows * self.plan.dim
        return size._replace(parameters=size.parameters + codebooks)


def build_run(config: ConfigDict) -> Run:
    """Checks the config, prepares the data where needed, and builds the model."""
    config = options.check(config)
    at = make_placement(config)
    data = datasets.load(
        config.data.dataset, config.data.options, config.data.data_dir, config.data.manual_dir
    )
    schema = data.schema
    if config.model.upstream:
        schema = schema.with_upstream(task_graph(config.model.upstream))
    choose("train.select", config.train.select, [MEAN, *schema.task_names])
    for name in ("task_weights", "positive_weights"):  # a bad one must not claim the folder
        per_task(config.loss[name], schema.task_names, f"loss.{name}", 1.0)
    for section in ("loss", "evaluate"):
        if config[section].sample_weights and not schema.weight:
            raise UserError(
                f"{section}.sample_weights=True, but data set {schema.name!r} has no weight column"
            )
    per_epoch = steps_per_epoch(data.layout, data.rows["train"], config.data.batch_size)
    total = per_epoch * config.train.epochs
    views = architectures.views(config.model.architecture, schema)
    return Run(
        config=config,
        data=data,
        schema=schema,
        model=architectures.build(config.model, schema),
        plan=make_plan(schema, config.model, views, architectures.codebooks(config.model, schema)),
        at=at,
        steps_per_epoch=per_epoch,
        total_steps=min(total, config.train.max_steps or total),
    )


@dataclasses.dataclass
class Progress:
    """The part of a run that is not arrays; saved with every checkpoint.

    Attributes:
      best: per selection (`mean` and each task) the best validation value and its step.
      waited: validations since the watched value last rose.
      stopped: whether early stopping has struck.
      loss_sum, loss_steps: of the training losses since the last logged line.
    """

    best: dict[str, dict]
    waited: int
    stopped: bool
    loss_sum: list[float]
    loss_steps: int


def start(run: Run, folder: Workdir, checkpoints: Checkpoints) -> tuple[State, Progress]:
    """The state of the last checkpoint, or a new one; logs are cut to match."""
    create = functools.partial(create_state, run.config, run.model, run.plan)
    sharding = run.at.state(jax.eval_shape(create))
    state = jax.jit(create, out_shardings=sharding)()
    progress = Progress({}, 0, False, [0.0] * len(run.schema.tasks), 0)
    found = checkpoints.restore(state)
    if found:
        state, progress = found[0], Progress(**found[1])
        rich.print(f"Going on at step {int(state.step)} of {run.total_steps}.")
    folder.resume_log_at(int(state.step))
    return state, progress


def training_data(run: Run) -> ResidentData | StreamedData:
    """The train split on the device where it fits, else streamed from disk."""
    placement = run.config.data.placement
    fits = run.data.rows["train"] * run.data.row_bytes() <= run.config.data.device_bytes
    if placement == "device" or (placement == "auto" and fits):
        return ResidentData(run.data, "train", run.at.replicated())
    return StreamedData(run.data, "train")


def fit(
    run: Run, folder: Workdir, checkpoints: Checkpoints, state: State, progress: Progress
) -> State:
    """The training loop: chunks of steps, validations, checkpoints."""
    config, batch_size = run.config, run.config.data.batch_size
    rows = training_data(run)
    step_function = make_train_step(config, run.model, run.plan, run.total_steps)
    train_chunk = jax.jit(make_train_chunk(step_function, CHUNK_STEPS), donate_argnums=0)
    step = int(state.step)
    bar = ProgressBar(run.total_steps, math.ceil(run.total_steps / run.steps_per_epoch), step)
    with bar:
        log = LossLog(run, folder, progress, bar, step)
        while step < run.total_steps and not progress.stopped:
            epoch, position = divmod(step, run.steps_per_epoch)
            count = steps_to_next_stop(run, step)
            chunk = rows.chunk(config.seed, epoch, position, count, batch_size)
            state, losses = train_chunk(state, jax.device_put(chunk, run.at.chunk()), count)
            step += count
            log.add(step, losses, count)
            last = step == run.total_steps
            if last or is_due(step, config.train.eval_every or run.steps_per_epoch):
                log.fetch(leave=0)
                validate(run, folder, checkpoints, state, step, progress)
            if last or progress.stopped or is_due(step, config.train.checkpoint_every):
                log.fetch(leave=0)
                checkpoints.save(step, state, dataclasses.asdict(progress))
    return state


def is_due(step: int, every: int) -> bool:
    return step % every == 0


def steps_to_next_stop(run: Run, step: int) -> int:
    """How many steps the next chunk has: it ends where the host has something to do."""
    train = run.config.train
    every = (train.log_every, train.checkpoint_every, train.eval_every or run.steps_per_epoch)
    stops = [n - step % n for n in (*every, run.steps_per_epoch)]
    return min(*stops, run.total_steps - step, CHUNK_STEPS)


class LossLog:
    """Collects training losses a chunk late, so that the host never waits inside the loop."""

    def __init__(self, run: Run, folder: Workdir, progress: Progress, bar, step: int):
        self.run, self.folder, self.progress, self.bar = run, folder, progress, bar
        self.pending: list[tuple[int, dict, int]] = []
        self.since = (step, time.monotonic())  # the last logged step and when it was

    def add(self, step: int, metrics_: dict, count: int) -> None:
        """Takes the metrics of `count` steps that end at `step`."""
        self.pending.append((step, metrics_, count))
        self.fetch(leave=1)

    def fetch(self, leave: int) -> None:
        """Brings all but the newest `leave` chunks to the host, checks and logs them."""
        while len(self.pending) > leave:
            step, device_metrics, count = self.pending.pop(0)
            found = {k: np.array(v)[:count] for k, v in jax.device_get(device_metrics).items()}
            self._check(found, step, count)
            progress = self.progress
            total = np.asarray(progress.loss_sum) + found["losses"].sum(axis=0, dtype=np.float64)
            progress.loss_sum, progress.loss_steps = total.tolist(), progress.loss_steps + count
            mean = total / progress.loss_steps
            names = self.run.schema.task_names
            epoch = (step - 1) // self.run.steps_per_epoch
            self.bar.update(
                step=step,
                epoch=epoch,
                losses=dict(zip(names, mean.tolist())),
                examples=count * self.run.config.data.batch_size,
            )
            if is_due(step, self.run.config.train.log_every) or step == self.run.total_steps:
                now, (since, then) = time.monotonic(), self.since
                rate = (step - since) * self.run.config.data.batch_size / max(now - then, 1e-9)
                self.since = (step, now)
                record = {"kind": "train", "step": step, "epoch": step / self.run.steps_per_epoch}
                record |= {f"loss/{n}": v for n, v in zip(names, mean.tolist())}
                self.folder.log(record | {"examples_per_second": rate})
                progress.loss_sum, progress.loss_steps = [0.0] * len(names), 0

    def _check(self, found: dict, step: int, count: int) -> None:
        where = f"between steps {step - count + 1} and {step}"
        if not np.isfinite(found["losses"]).all():
            names = np.asarray(self.run.schema.task_names)
            bad = names[~np.isfinite(found["losses"]).all(axis=0)]
            raise UserError(
                f"the loss of {' and '.join(bad)} is not finite {where}: lower "
                "optim.learning_rate or optim.table_learning_rate, or set optim.clip, in a new "
                "workdir; the last checkpoint is kept"
            )
        bad_ids = found.get("bad_ids", np.zeros((1, 1))).sum(axis=0)
        if bad_ids.any():
            fields = [f.name for f in self.run.schema.slot_fields()]
            bad = ", ".join(f"{n} ({int(c)})" for n, c in zip(fields, bad_ids) if c)
            raise UserError(f"ids outside their tables {where}, by field: {bad}")


def validate(
    run: Run, folder: Workdir, checkpoints: Checkpoints, state: State, step: int, progress: Progress
) -> None:
    """Scores validation, keeps the state where it is the best so far, minds early stopping."""
    results = measure(run, score_split(run, state, "validation"))
    found = {MEAN: metrics.mean_selection(results, run.schema)}
    for task in run.schema.tasks:
        found[task.name] = metrics.selection_value(task, results[f"{task.name}@{task.space}"])
    better = [
        name
        for name, value in found.items()
        if name not in progress.best
        or (value is not None and value > (progress.best[name]["value"] or -math.inf))
    ]
    for name in better:
        progress.best[name] = {"value": found[name], "step": step}
    if better:
        checkpoints.save_best(step, state)
    progress.waited = 0 if run.config.train.select in better else progress.waited + 1
    progress.stopped = 0 < run.config.train.patience <= progress.waited
    record = {"kind": "validation", "step": step, "epoch": step / run.steps_per_epoch}
    record |= {f"{k}/{m}": v for k, found in results.items() for m, v in found.items()}
    folder.log(record | {"mean": found[MEAN]})


def score_split(run: Run, state: State, split: str) -> Scores:
    size = run.config.data.eval_batch_size
    return score(run.score_step, state, run.data, split, size, run.at)


def measure(run: Run, scores: Scores) -> dict[str, dict]:
    options_ = run.config.evaluate
    return evaluate(scores, run.schema, options_.ece_bins, options_.sample_weights)


def conclude(
    run: Run,
    folder: Workdir,
    checkpoints: Checkpoints,
    state: State,
    progress: Progress,
    test: bool,
) -> dict:
    """Writes results.json and the pictures."""
    best = {name: entry["step"] for name, entry in progress.best.items()}
    history = folder.history()
    validation = next(r for r in history if r["kind"] == "validation" and r["step"] == best[MEAN])
    results = {
        "dataset": run.config.data.dataset,
        "architecture": run.config.model.architecture,
        "experts": run.config.model.experts,
        "seed": run.config.seed,
        "parameters": run.size.parameters,
        "table_parameters": run.plan.rows * run.plan.dim * len(run.plan.views),
        "flops_per_example": run.size.flops_per_example,
        "steps": int(state.step),
        "best_steps": best,
        "examples_per_second": median_rate(history),
        "validation": nested(validation),
    }
    if test:
        results |= read_test(run, folder, checkpoints, state, best)
    plots.learning_curves(history, folder.path / "learning_curves.png")
    folder.finish(results)
    return results


def read_test(
    run: Run, folder: Workdir, checkpoints: Checkpoints, state: State, best: dict[str, int]
) -> dict:
    """Scores test once with the state that is best by the mean, and with each task's own."""
    measured = {}
    for step in sorted(set(best.values())):
        scores = score_split(run, checkpoints.restore_best(step, state), "test")
        measured[step] = measure(run, scores)
        if step == best[MEAN]:
            write_predictions(folder.path / "predictions.parquet", scores, run.schema)
            options_ = run.config.evaluate
            curves = calibration(scores, run.schema, options_.ece_bins, options_.sample_weights)
            plots.reliability(curves, folder.path / "reliability.png")
    per_task = {}
    for task in run.schema.tasks:
        own = measured[best[task.name]]
        per_task |= {f"{task.name}@{space}": own[f"{task.name}@{space}"] for space in task.spaces}
    return {"test": measured[best[MEAN]], "test_per_task_best": per_task}


def median_rate(history: list[dict]) -> float:
    """Examples a second in training, the median over logged spans."""
    return float(np.median([r["examples_per_second"] for r in history if r["kind"] == "train"]))


def nested(record: dict) -> dict[str, dict]:
    """A validation record, 'task@space/metric': value, as {task@space: {metric: value}}."""
    found = {}
    for name, value in record.items():
        key, slash, metric = name.partition("/")
        if slash:
            found.setdefault(key, {})[metric] = value
    return found


def show(results: dict, schema: Schema) -> None:
    """The final table."""
    title = (
        f"{results['architecture']} ({results['experts']}) on {results['dataset']}, "
        f"at step {results['best_steps'][MEAN]} of {results['steps']}, the best by validation"
    )
    splits = {k: results[k] for k in ("validation", "test") if k in results}
    rich.print(report.splits_table(splits, schema, title))
    rich.print(
        f"{results['parameters']:,} dense parameters, {results['flops_per_example']:,} forward "
        f"FLOPs an example, {results['examples_per_second']:,.0f} examples/s in training."
    )
