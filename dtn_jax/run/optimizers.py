"""AdamW for dense parameters and their moving average, and the learning rates' schedule.

Rates are traced scalars of the state (`Hyper`), not constants of the program, so optax supplies
the directions (clipping, Adam's moments) and the step scales them itself.

`train.average` keeps a moving average of the dense parameters, with which a run scores. Steps of a
constant rate circle around an optimum, and their average lies nearer to it (Polyak and Juditsky,
"Acceleration of stochastic approximation by averaging", 1992). With p_i the dense parameters after
step i and a decay d, the average after t steps is

    a_t = (1 - d) Σ_i d^(t - i) p_i / (1 - d^t)

a weighted mean of p_1 … p_t alone: the division takes out the bias of a sum that begins at 0, as
Adam does for its moments and `optax.ema` for this. So the initial parameters have no weight, and
early averages are of the few steps that there are. It is kept as

    w_t = d w_(t-1) + 1 - d,    a_t = a_(t-1) + (1 - d) / w_t (p_t - a_(t-1)),    w_0 = 0

`State.params` is a_t, so that whatever scores, selects, saves or exports has the average and need
not know; `State.iterate` holds p_t and w_t, and gradients are taken at p_t. Tables and the
normalisation statistics are not averaged.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from dtn_jax.errors import UserError
from dtn_jax.options import option, per_task
from dtn_jax.schema import Schema
from dtn_jax.shapes import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class OptimOptions:
    """Section `optim`, but for the options of tables."""

    learning_rate: float = option(1e-3, "AdamW on dense parameters", least=0)
    weight_decay: float = option(0.0, "decoupled, on dense matrices", least=0)
    b1: float = option(0.9, "Adam's decay of the first moment", above=0, below=1)
    b2: float = option(0.999, "Adam's decay of the second moment", above=0, below=1)
    eps: float = option(1e-8, "added to Adam's and Adagrad's divisor", above=0, below=1)
    clip: float = option(0.0, "global norm of the dense gradient; 0 is off", least=0)
    schedule: str = option(
        "constant",
        "of both learning rates; linear and cosine end at 0",
        choices=("constant", "linear", "cosine"),
    )
    warmup_steps: int = option(0, "steps of a linear rise from 0", least=0, below=2**31)


@dataclasses.dataclass(frozen=True)
class AveragingOptions:
    """Of the section `train`."""

    average: float = option(
        0.0,
        "decay of a moving average of the dense parameters, such as 0.999: it is validated, "
        "selected, tested and exported in place of the last ones, with tables and normalisation "
        "statistics as they are; 0 is off",
        least=0,
        below=1,
    )


@flax.struct.dataclass
class Hyper:
    """Scalars that may differ between two runs of one compiled program."""

    learning_rate: Float[Array, ""]
    weight_decay: Float[Array, ""]
    table_learning_rate: Float[Array, ""]
    table_l2: Float[Array, ""]
    task_weights: Float[Array, " T"]
    dropout: Float[Array, ""]
    embedding_dropout: Float[Array, ""]


def hyper(config: ConfigDict, schema: Schema) -> Hyper:
    """The config's numbers as arrays."""
    names, options = schema.task_names, {**config.optim, **config.model}
    weights = per_task(config.loss.task_weights, names, "loss.task_weights", 1.0)
    if not any(weights.values()):
        raise UserError("loss.task_weights: all are 0, so nothing would be learned")
    rates = {f.name for f in dataclasses.fields(Hyper)} - {"task_weights"}
    return Hyper(
        task_weights=jnp.asarray([weights[n] for n in names], jnp.float32),
        **{name: jnp.float32(options[name]) for name in rates},
    )


def schedule(optim: ConfigDict, total_steps: int):
    """Returns `factor(step)`, which scales both learning rates: warm-up, then the decay to 0."""
    warmup = optim.warmup_steps
    rest = max(total_steps - warmup, 1)

    def factor(step: Int[Array, ""]) -> Float[Array, ""]:
        done = jnp.clip((step - warmup) / rest, 0, 1)
        decayed = {
            "constant": jnp.ones_like(done),
            "linear": 1 - done,
            "cosine": 0.5 * (1 + jnp.cos(jnp.pi * done)),
        }[optim.schedule]
        return jnp.where(step < warmup, (step + 1) / max(warmup, 1), decayed)

    return factor


def dense_directions(optim: ConfigDict) -> optax.GradientTransformation:
    """Clipping by global norm and Adam's direction (Kingma and Ba 2015), without a rate."""
    clip = optax.clip_by_global_norm(optim.clip) if optim.clip else optax.identity()
    return optax.chain(clip, optax.scale_by_adam(optim.b1, optim.b2, optim.eps))


def apply_dense(params, directions, rate, weight_decay):
    """p −= rate · (direction + weight_decay · p), the decay on matrices only (AdamW, Loshchilov
    and Hutter 2019): biases and normalisation scales are not pulled to 0."""

    def move(p, d):
        decay = weight_decay * p if p.ndim > 1 else 0
        return p - (rate * (d + decay)).astype(p.dtype)

    return jax.tree.map(move, params, directions)


def averaged(average: Any, weight: jax.Array, params: Any, decay: float) -> tuple[Any, dict]:
    """(a_t, {"params": p_t, "weight": w_t}) of a_(t-1), w_(t-1) and p_t."""
    weight = decay * weight + (1 - decay)
    rate = (1 - decay) / weight
    average = jax.tree.map(lambda a, p: a + (rate * (p - a)).astype(a.dtype), average, params)
    return average, {"params": params, "weight": weight}
