"""A plug-in such as a user may have: an architecture, an expert, a data set, a metric, a loss."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import polars as pl
from flax import linen as nn

from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.metrics.metric import Metric, Rows
from dtn_jax.models.architectures import Architecture
from dtn_jax.models.layers import dense, flat
from dtn_jax.options import option


class Heads(Architecture):
    """All tasks read the shared experts, each through projections of its own."""

    count: int = option(2, "projections a task", least=1)

    @classmethod
    def layout(cls, schema, own):
        return ((SHARED,),)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        fields = self.input(name="input")(inputs.fields[SHARED], inputs.row_mask, train)
        outputs = self.experts(fields, inputs.codewords, train)[SHARED]
        z = jnp.concatenate(list(outputs.values()), axis=-1)
        logits = {}
        for task in self.tasks:
            heads = [dense(8, self.dtype, name=f"{task.name}_{i}")(z) for i in range(self.count)]
            tower = self.tower(name=f"tower_{task.name}")
            logits[task.name] = tower(nn.relu(jnp.concatenate(heads, axis=-1)), train)
        return Outputs(logits=logits, intermediates={"experts": outputs})


class Product(nn.Module):
    """f = relu(x W) times relu(x V)."""

    width: int
    power: float = option(1.0, "of the product", above=0)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields, codewords, train):
        x = flat(fields)
        left, right = (
            nn.relu(dense(self.width, self.dtype, name=name)(x)) for name in ("left", "right")
        )
        return left * right**self.power if self.power != 1 else left * right


class Shop(DataSet):
    """Visits to a shop: does one click, and does one buy after that?"""

    name = "shop"
    schema = """
        fields:
          colour:
          hour: {kind: numeric}
          price: {kind: numeric}
        tasks:
          click:
          buy: {upstream: [click], also_report: [click]}
        group: visitor
        split: {by: column, column: _split}
    """

    def raw(self, files):
        rows = {"train": 3000, "validation": 1000, "test": 1000}
        return {split: visits(seed, rows[split]) for seed, split in enumerate(rows)}


def visits(seed: int, count: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    colour, hour = rng.integers(0, 5, count), rng.integers(0, 24, count)
    price = rng.lognormal(size=count)
    p = 1 / (1 + np.exp(-(colour - 2.0 + 0.1 * (hour - 12) - np.log(price))))
    click = rng.random(count) < p
    buy = click & (rng.random(count) < 0.5 * p)
    return pl.DataFrame(
        {
            "colour": colour.astype(str),
            "hour": hour,
            "price": price,
            "visitor": rng.integers(0, 200, count),
            "click": click.astype(np.int8),
            "buy": buy.astype(np.int8),
        }
    )


def squared_distance(rows: Rows) -> float | None:
    """The mean of (p - y)^2 (Brier 1950)."""
    if not rows.scores.size:
        return None
    return float(np.mean((1 / (1 + np.exp(-rows.scores.astype(np.float64))) - rows.labels) ** 2))


@dataclasses.dataclass(frozen=True)
class Hinge:
    """w y max(0, m - z) + (1 - y) max(0, m + z)."""

    kind = "binary"
    margin: float = option(1.0, "m, in logits", above=0)

    def __call__(self, z, y, w):
        return w * y * nn.relu(self.margin - z) + (1 - y) * nn.relu(self.margin + z)


ARCHITECTURES = {"heads": Heads}
EXPERTS = {"product": Product}
DATASETS = {"shop": Shop}
METRICS = {
    "brier": Metric(
        name="brier",
        title="Brier score",
        compute=squared_distance,
        kinds=("binary",),
        higher_is_better=False,
        selectable=True,
        column="Brier",
    )
}
LOSSES = {"hinge": Hinge}
