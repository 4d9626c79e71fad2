"""What a config means on its data set: the pieces that training and evaluation work with."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
from flax import linen as nn
from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.balancing import read_balancer, seam
from dtn_jax.config import checked_config, plugins
from dtn_jax.config.plugins import told_as_built
from dtn_jax.data.epochs.day_order import DayRows, Days, read_days, steps_of
from dtn_jax.data.epochs.reader import in_order
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.interface import SHARED, Batch
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import TaskLoss
from dtn_jax.losses.label_quantiles import with_label_quantiles
from dtn_jax.losses.pairwise import read_pairwise
from dtn_jax.losses.positive_weights import inflation_by
from dtn_jax.losses.sample_weights import with_sample_weights
from dtn_jax.metrics import Value
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.selected import Selection, metrics_of, read_selection
from dtn_jax.models import build as architectures
from dtn_jax.models import flops
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.build import read_by, with_roles
from dtn_jax.parallel import processes
from dtn_jax.parallel.mesh import Placement, make_placement, share_tables
from dtn_jax.run import promises
from dtn_jax.run.evaluate import evaluate, scored
from dtn_jax.run.state import (
    WEIGHTS,
    Numbers,
    State,
    create_state,
    example_batch,
    example_inputs,
    read_numbers,
)
from dtn_jax.run.step import AUX, make_score_step, make_train_step
from dtn_jax.run.timetable import Timetable, make_timetable
from dtn_jax.schema import Schema
from dtn_jax.tables.plan import TablePlan, check_updates, make_plan


@dataclasses.dataclass(frozen=True)
class Started:
    """What a run starts from: `train.start_from`.

    Attributes:
      workdir: of the other run.
      step: its last one, which `State.step` counts on from.
      fingerprint: of its data set.
    """

    workdir: str
    step: int
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class Run:
    """What a config means on its data set, before any array exists.

    Its steps are counted from its own beginning; `State.step` also counts those of the runs before
    it that it `started` from.
    """

    config: FrozenConfigDict
    data: Prepared
    schema: Schema
    model: nn.Module
    plan: TablePlan
    at: Placement
    at_steps: Timetable
    days: Days | None = None  # of train's rows, with `data.order=day`
    started: Started | None = None

    @property
    def first(self) -> int:
        """The `State.step` of this run's step 0."""
        return self.started.step if self.started else 0

    @property
    def experts(self) -> str:
        """`model.experts`; "" of an architecture that has none."""
        takes = ARCHITECTURES[self.config.model.architecture].takes_experts
        return self.config.model.experts if takes else ""

    def step_of(self, state: State) -> int:
        """How many of this run's steps a state has done."""
        return int(state.step) - self.first

    @functools.cached_property
    def create_state(self) -> Callable[[Numbers], State]:
        """Makes the state at step 0; one function, so that JAX traces it once."""
        return functools.partial(create_state, self.config, self.model, self.plan)

    @functools.cached_property
    def numbers(self) -> Numbers:
        """The argument of `create_state`."""
        return read_numbers(self.config, self.plan.schema)

    @functools.cached_property
    def state_shapes(self) -> State:
        """The state's shapes and dtypes."""
        return jax.eval_shape(self.create_state, self.numbers)

    @functools.cached_property
    def state_places(self) -> State:
        """The state's shapes, dtypes and shardings."""
        return self.at.state_places(self.state_shapes)

    def new_state(self) -> State:
        """The state at step 0, on the devices."""
        places = self.at.state(self.state_shapes)
        return jax.jit(self.create_state, out_shardings=places)(self.numbers)

    def unfilled_state(self) -> State:
        """A state to score with before its weights are read: it has their shardings alone."""

        def scalars(numbers):
            return self.create_state(numbers).to_score().replace(**{part: {} for part in WEIGHTS})

        state = jax.jit(scalars, out_shardings=self.at.replicated())(self.numbers)
        return state.replace(**{part: getattr(self.state_places, part) for part in WEIGHTS})

    def check_model(self) -> None:
        """Builds the model without any array.

        Raises:
          UserError: it cannot be built; names the architecture, the reason and a plug-in's line.
        """
        with told_as_built(self.config, traced=True):
            _ = self.state_shapes
            if self.config.plugins:  # its losses and balancers too
                _ = self.auxiliary  # of a whole step
                batch = example_batch(self.schema, self.config.data.batch_size)
                jax.eval_shape(self.score_batch, self.state_shapes, batch)
                exact = ConfigDict(self.config.to_dict())
                exact.model.dtype = "float32"  # whose rounding does not depend on the batch's size
                exact.model.normalisation = "none"  # the package's may see all rows
                model = build_model(exact, self.schema)
                with jax.default_matmul_precision("highest"):
                    promises.check(model, self.plan, self.schema)

    @functools.cached_property
    def auxiliary(self) -> list[str]:
        """The names of the architecture's auxiliary losses."""
        step = make_train_step(self.config, self.model, self.plan, self.total_steps)
        batch = example_batch(self.schema, self.config.data.batch_size, self.grouped)
        metrics = jax.eval_shape(step, self.state_shapes, batch)[1]
        return [key.removeprefix(AUX) for key in metrics if key.startswith(AUX)]

    @functools.cached_property
    def losses(self) -> tuple[TaskLoss, ...]:
        """The tasks' losses, which know what a regression's score means."""
        return read_losses(self.config.loss, self.schema)

    @functools.cached_property
    def grouped(self) -> bool:
        """Whether batches that train have the rows' groups."""
        return bool(read_pairwise(self.config, self.schema))

    @functools.cached_property
    def score_batch(self) -> Callable[[State, Batch], jax.Array]:
        """(state, batch) -> logits `[B, T]`, to be traced: see step.make_score_step."""
        return make_score_step(self.model, self.plan, self.losses, self.at.table_mesh)

    @functools.cached_property
    def score_step(self) -> Callable[[State, Batch], jax.Array]:
        """`score_batch`, compiled; every device has the logits."""
        return jax.jit(self.score_batch, out_shardings=self.at.replicated())

    @functools.cached_property
    def selection(self) -> Selection:
        """By what states are compared: `train.select`."""
        return read_selection("train.select", self.config.train.select, metrics_of(self.schema))

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over train."""
        return self.at_steps.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.at_steps.total_steps

    @property
    def table_parameters(self) -> int:
        """Numbers in the embedding tables of all views, without padding."""
        return sum(self.schema.tables().values()) * len(self.plan.views) * self.plan.dim

    @functools.cached_property
    def size(self) -> flops.Size:
        """Dense parameters (codebooks included), and forward FLOPs of one example."""
        size = flops.count(self.model, jax.eval_shape(lambda: example_inputs(self.plan)))
        codebooks = self.plan.codebooks * self.plan.codebook_rows * self.plan.dim
        return size._replace(parameters=size.parameters + codebooks)


def build_run(config: ConfigDict, data: Prepared | None = None) -> Run:
    """Checks the config, prepares the data where needed, and builds the model.

    An estimate gives `data`, for which the run is instead of the set that the config names."""
    config = checked_config(config)
    plugins.check_used(config)
    if config.replicas:
        raise UserError("config.replicas makes several runs: dtn_jax.run.replicas.train_replicas")
    processes.join(config.parallel)
    at = make_placement(config)
    source, size = config.data, config.data.batch_size
    data = data or processes.first_alone(lambda: catalog.read_data(config))
    config = with_sample_weights(config, data)
    data = data.part_of_train(source.train_share)
    days = read_days(data, "train") if source.order == "day" else None
    per_epoch = steps_of(data, days, size, at.mesh.size)
    begin = days.begin(size).tolist() if config.train.evaluate_first else ()
    schema = read_by(config.model, data.schema)
    schema = with_label_quantiles(schema, config.loss, data)
    with told_as_built(config):
        config = with_roles(config, schema)
        model, plan, at = build_model_and_plan(config, schema, at)
    seam.first_state(read_balancer(config.loss, plan.views, SHARED), schema.tasks)
    check_updates(plan, size, at.table_mesh.shape["table"] if at.table_mesh else 1)
    at_steps = make_timetable(config.train, per_epoch, size, begin)
    run = Run(config, data, schema, model, plan, at, at_steps, days)
    _ = run.selection, run.losses, run.grouped, run.numbers  # bad ones must not claim the folder
    return run


def build_model_and_plan(
    config: ConfigDict | FrozenConfigDict, schema: Schema, at: Placement
) -> tuple[nn.Module, TablePlan, Placement]:
    """The architecture on a schema, where its tables' rows lie, and on which devices."""
    views = architectures.views(config.model, schema)
    codebooks = architectures.codebooks(config.model, schema)
    plan = make_plan(schema, config.model, views, codebooks, at.platform)
    return build_model(config, schema), *share_tables(plan, at, config.data.batch_size)


def build_model(config: ConfigDict | FrozenConfigDict, schema: Schema) -> nn.Module:
    """The architecture that a config describes."""
    moved = inflation_by(config.loss.positive_weights, schema)
    losses = read_losses(config.loss, schema)
    outputs = {one.task: one.outputs for one in losses if one.outputs > 1}
    return architectures.build(config.model, schema, moved, config.optim.table_init, outputs)


def score_split(run: Run, state: State, split: str, day: DayRows | None = None) -> Scores:
    """Scores a split, or a day of it; one program serves a state that trains and one that can only
    score. The ids are checked on the way (see `prepared.check_ids`)."""
    data, size, state = run.data, run.config.data.eval_batch_size, state.to_score()
    rows = data.rows[split] if day is None else len(day)
    batches = in_order(data, split, size, processes.own_part(size), day)
    at = run.at.batch()
    return scored(batches, rows, lambda batch: run.score_step(state, run.at.put(batch, at)))


def measure(run: Run, scores: Scores) -> dict[str, dict[str, Value]]:
    """{task@space: {metric: value}}"""
    options = run.config.evaluate
    return evaluate(scores, run.schema, options.ece_bins, options.sample_weights)
