"""Losses: what a row of a task costs, one loss a file, and the options of the section `loss`.

A loss is a frozen dataclass: `kind` says for which tasks it is, its fields are its options
(`loss.<name>.<field>` in a config), and

    loss(z [B], y [B], w) -> [B]        z: what the task's tower gives; y: its label, from 0 to 1
                                        for a binary task (`loss.label_smoothing`)

is what each row costs. Of a binary task the loss may have

    loss.proper                         False where its best p is not the rate of positives, so that
                                        a score is no probability until it is calibrated

and of a regression task the loss may have

    loss.prediction(z [B]) -> [B]       the score, in the label's unit; without it, z itself
    loss.meaning                        what of the label that is, in words, for cards
    loss.least                          the least label that it takes; below, it gives NaN
    loss.negative                       whether it may be below 0, for balancers that need it above
    loss.outputs                        K, how many numbers the task's tower gives: z is `[B, K]`
    loss.reads                          its option that names a numeric field in buckets; the loss
                                        and `prediction` get the bucket of each row, 0 where the
                                        number is unknown, int32 `[B]`, as their last argument
    loss.points                         of one that reads, a field: when a run is built it becomes
                                        train's quantiles of the label by bucket, as tuples
                                        `[G, Q]`, Q = loss.quantiles (see label_quantiles.py)

`by_task.predictions` is what puts `prediction` wherever a model gives its scores.

A binary task's logit is the log-odds of its task. Where positives weigh w, the best logit of any
such loss is log w above the log-odds, so `task_losses` adds log w to the logit before a loss sees
it: what a model gives stays calibrated, and no loss needs to know.

A term that sees more than a row, such as that of pairs (`pairwise.py`), stands beside the loss.

A new loss is a file here and a line in LOSSES.
"""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from dtn_jax.balancing import BALANCERS, NONE
from dtn_jax.errors import UserError, choose
from dtn_jax.losses.by_task import TaskLoss
from dtn_jax.losses.cross_entropy import CrossEntropy
from dtn_jax.losses.d2q import D2Q
from dtn_jax.losses.focal import Focal
from dtn_jax.losses.huber import Huber
from dtn_jax.losses.log_normal import LogNormal
from dtn_jax.losses.ordinal import Ordinal
from dtn_jax.losses.positive_weights import read_positive_weights
from dtn_jax.losses.squared_error import SquaredError
from dtn_jax.losses.weighted_logistic import WeightedLogistic
from dtn_jax.losses.ziln import ZILN
from dtn_jax.options import declared, made, option, pairs, per_task
from dtn_jax.schema import TASK_KINDS, Schema

LOSSES = {
    "cross_entropy": CrossEntropy,
    "squared_error": SquaredError,
    "huber": Huber,
    "focal": Focal,
    "log_normal": LogNormal,
    "weighted_logistic": WeightedLogistic,
    "ordinal": Ordinal,
    "d2q": D2Q,
    "ziln": ZILN,
}
BY_KIND = {"binary": "cross_entropy", "regression": "squared_error"}  # where none is named


@dataclasses.dataclass(frozen=True)
class LossOptions:
    """The section `loss` of a config, but for the options of single losses and balancers."""

    tasks: str = option(
        "",
        "a task's loss, 'watch_seconds=huber,click=focal'; tasks not named have cross_entropy if "
        "binary, squared_error if regression",
    )
    task_weights: str = option(
        "", "what a task's loss is multiplied by, 'click=1,order=0.5'; tasks not named have 1"
    )
    positive_weights: str = option(
        "", "what the positives of a binary task weigh, 'click=20'; logits stay its log-odds"
    )
    label_smoothing: float = option(
        0.0,
        "of binary tasks: a label y counts as y (1 - this) + this / 2 in the training loss alone. "
        "Scores shrink toward 1/2: they are no probabilities until export calibrates them",
        least=0,
        below=1,
    )
    pairwise: str = option(
        "",
        "a term that scores a group's positives above its negatives (the schema's `group`; rows of "
        "one batch), 'click=0.5' times softplus(z_negative - z_positive), the mean over a "
        "positive's negatives, then over rows, beside the task's loss; scores are calibrated as "
        "the sum of both has them. On two CPU cores a batch of 4,096 takes 7 ms more a task in "
        "groups of ten, 60 ms as one group",
    )
    sample_weights: bool = option(
        True, "where the schema has `weight` or `loss_weight`, rows count by them in the loss"
    )
    balancing: str = option(
        NONE,
        "how tasks are weighed against each other while training",
        choices=lambda: (NONE, *BALANCERS),
    )


def read_losses(loss: ConfigDict, schema: Schema) -> tuple[TaskLoss, ...]:
    """The loss of each task, in the schema's order, from the section `loss` of a config.

    Raises:
      UserError: an unknown task or loss, a loss of the wrong kind for its task, a bad option, or a
        field that the loss cannot read.
    """
    named = pairs(loss.tasks, "loss.tasks")
    for task, name in named.items():
        choose("task in loss.tasks", task, schema.task_names)
        choose(f"loss.tasks: loss of {task}", name, LOSSES)
    weights = read_positive_weights(loss.positive_weights, schema)
    ranked = per_task(loss.pairwise, schema.task_names, "loss.pairwise", 0.0)
    chosen = []
    for task in schema.tasks:
        name = named.get(task.name, BY_KIND[task.kind])
        if LOSSES[name].kind != task.kind:
            fitting = ", ".join(n for n, known in LOSSES.items() if known.kind == task.kind)
            raise UserError(
                f"loss.tasks: {name} is a loss of {LOSSES[name].kind} tasks, and {task.name} is a "
                f"{task.kind} task; expected one of {fitting}"
            )
        function = made(LOSSES[name], loss.get(name, {}), f"loss.{name}")
        balancer = BALANCERS.get(loss.balancing)
        if balancer and balancer.positive and getattr(function, "negative", False):
            fitting = ", ".join(n for n, known in BALANCERS.items() if not known.positive)
            raise UserError(
                f"loss.balancing={loss.balancing} needs losses above 0, and {name} of {task.name} "
                f"may be below it; expected one of {NONE}, {fitting}"
            )
        smoothing = loss.label_smoothing if task.kind == "binary" else 0.0
        slot, improper = None, ""
        if not getattr(function, "proper", True):
            improper = f"{name} loss"
        elif smoothing:
            improper = "label smoothing"
        elif task.kind == "binary" and ranked[task.name]:
            improper = "pairwise term"
        if hasattr(function, "reads"):
            key = f"loss.{name}.{function.reads}"
            slot = _slot(key, getattr(function, function.reads), task.name, schema)
            if hasattr(function, "points"):
                function = dataclasses.replace(function, points=task.quantiles)
        chosen.append(TaskLoss(task.name, function, weights[task.name], slot, smoothing, improper))
    return tuple(chosen)


def check(owner: type) -> None:
    """Builds a loss at its defaults; raises UserError where it lacks something."""
    choose("kind of loss", getattr(owner, "kind", ""), TASK_KINDS)
    if getattr(owner, "reads", None) not in (None, *declared(owner)):
        raise UserError(f"its attribute `reads` is {owner.reads!r}, expected one of its options")
    if not callable(owner()):
        raise UserError("expected a method __call__(z, y, w)")


def _slot(key: str, name: str, task: str, schema: Schema) -> int:
    """The slot of the field `name` that the loss of a task reads, by its option `key`."""
    kinds = {f.name: f"a {f.kind} field" for f in schema.fields}
    kinds |= {f.name: "a standardised number" for f in schema.fields if f.standardised}
    fitting = [f.name for f in schema.fields if f.kind == "numeric" and not f.standardised]
    expected = f"the loss of {task} needs a numeric field in buckets"
    if not fitting:
        raise UserError(f"{key}: {expected}, and data set {schema.name!r} has none")
    if not name:
        raise UserError(f"{key} is not set: {expected}, one of {', '.join(fitting)}")
    if name in kinds and name not in fitting:
        raise UserError(
            f"{key}={name!r}: {expected}, one of {', '.join(fitting)}; {name} is {kinds[name]}"
        )
    choose(key, name, fitting)
    return [f.name for f in schema.slot_fields()].index(name)
