"""What a training step needs on many devices, from formulas: memory, bytes sent, arithmetic.

Nothing is compiled and no array is made, so a run that fits no machine at hand can be sized.
Letters: n devices, of which K hold a copy of the tables together (K = 1 with `pmap`); B examples
in a batch over all devices; for each packed array V rows of D numbers, and M ids that a batch looks
up in it, repeats counted: B times the slots and views, or B times HCNet's pairs and hashes. A row
lies alone, or on TPUs in a line of L numbers; one that travels between TPUs is padded to P, a
multiple of 128.
Numbers have 4 bytes. Bytes, on a device:

| part | held between steps |
|---|---|
| tables | 4 V D / K |
| slots | adam 4 V (2 D + 1) / K, adagrad 4 V / K, sgd none, dense 8 V D / K |
| dense | 3 times the dense parameters (Adam has two moments), normalisation statistics |
| batch | a chunk's steps times B / n examples |

| part | held within a step |
|---|---|
| rows | 8 D M / n: rows looked up, and their gradients |
| gradients | of the dense parameters |
| activations | what JAX saves of B / n examples for the backward pass |
| update, on CPUs | 4 M (D (3 + 2 moments) + 8), 2 moments with adam |
| update, on GPUs | 4 M (D + 8) + 4 W D (3 + 2 moments) |
| update, on TPUs | 4 M (2 P + 8) + 4 W L (3 + 2 moments) |
| update, dense | 4 M (D + 8) + V (4 D + 1) / K; on TPUs L for the first D |

On CPUs `update` falls with neither n nor K: every device sorts and sums the ids and gradients of
the whole batch. GPUs and TPUs sum and step windows of at most W = 1.25 M / K places; what travels
there is still the whole batch's, on TPUs twice: the look-up's sum goes in and comes out whole. The
parts within a step are added up, though not all are held at once: an upper bound of what the
compiler takes. Dropout under `pmap` breaks it: masks are drawn for all B examples on every device.

Collectives of a step, with the bytes of the whole array that each makes or reduces:

| for | `shard` | `pmap` |
|---|---|---|
| look-up | all-gather of ids over K, 4 M K / n; reduce-scatter of rows over K, 4 D M K / n | none |
| update | all-gather over n of ids, 4 M (the look-up's serve where K = n), and gradients, 4 D M | \
the same, and on CPUs, but for dense, the rows looked up, 4 D M |
| dense parameters | all-reduce over n of gradients, losses and sums of weights | the same |
| batch normalisation | all-reduce over n of statistics and their gradients, twice their size | \
the same |

A device sends (g - 1) / g of those bytes in a group of g, as a ring does, and twice that for an
all-reduce. The few bytes of the checked ids and of the counts beside statistics are left out.
"""

from __future__ import annotations

import dataclasses
import math

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.errors import UserError
from dtn_jax.input.batches import CHUNK_STEPS
from dtn_jax.models import flops
from dtn_jax.state import State, create_state, example_batch, example_inputs
from dtn_jax.tables import update_by_sort
from dtn_jax.tables.lookup import row_ids
from dtn_jax.tables.plan import ROW_MULTIPLE, TablePlan, check_updates
from dtn_jax.tables.stored_rows import LANES

from .activations import bytes_of, saved_bytes


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between devices.

    Attributes:
      name: what is exchanged.
      kind: as XLA calls it.
      bytes: of the whole array that is made or reduced.
      devices: that take part in a group.
    """

    name: str
    kind: str
    bytes: int
    devices: int

    @property
    def sent(self) -> float:
        """Bytes that a device sends, by a ring."""
        rounds = 2 if self.kind == "all-reduce" else 1
        return rounds * self.bytes * (self.devices - 1) / self.devices


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of a device, by the parts of the tables above."""

    tables: int
    slots: int
    dense: int
    batch: int
    rows: int
    gradients: int
    activations: int
    update: int

    @property
    def arguments(self) -> int:
        """Held between steps: what a compiled chunk is given (and gives back in place)."""
        return self.tables + self.slots + self.dense + self.batch

    @property
    def temporaries(self) -> int:
        """An upper bound of what a step holds beside it."""
        return self.rows + self.gradients + self.activations + self.update


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Of a training step.

    Attributes:
      memory: of each device.
      collectives: of a step; each device takes part in all.
      flops: of a step on each device: 3 times the forward matrix products.
      update_traffic: bytes that a device's memory reads and writes to update rows in a step, where
        each array of `update` is written once and read once.
    """

    memory: Memory
    collectives: tuple[Collective, ...]
    flops: float
    update_traffic: int

    @property
    def carried(self) -> int:
        return sum(c.bytes for c in self.collectives)

    @property
    def sent(self) -> float:
        return sum(c.sent for c in self.collectives)


def predict(config: ConfigDict, model: nn.Module, tables: TablePlan, devices: int) -> Prediction:
    """What a step of the config's batch size takes on each of `devices`.

    `config.parallel` gives strategy and table_devices; its `devices` is not read.

    Raises:
      UserError: tables or batches that cannot be split so, more rows than int32 ids can tell
        apart, or a batch that is stepped through in parts.
    """
    pmap = config.parallel.strategy == "pmap"
    sharers = 1 if pmap else config.parallel.table_devices or devices
    batch_size = config.data.batch_size
    _check(config, devices, sharers)
    check_updates(tables, batch_size, sharers)
    state = jax.eval_shape(lambda: create_state(config, model, tables))
    looked_up = {
        name: math.prod(ids.shape)
        for name, ids in jax.eval_shape(
            lambda: row_ids(tables, example_batch(tables.schema, batch_size))
        ).items()
    }
    own = batch_size // devices
    example = bytes_of(jax.eval_shape(lambda: example_batch(tables.schema, 1)))
    memory = Memory(
        tables=bytes_of(state.tables) // sharers,
        slots=bytes_of(state.slots) // sharers,
        dense=bytes_of((state.params, state.opt_state, state.model_state)),
        batch=CHUNK_STEPS * own * example,
        rows=sum(2 * 4 * tables.arrays[n].width * m // devices for n, m in looked_up.items()),
        gradients=bytes_of(state.params),
        activations=own * saved_bytes(config, model, tables),
        update=sum(
            _update_bytes(config.optim.tables, state, tables, name, ids, sharers)
            for name, ids in looked_up.items()
        ),
    )
    carried = [_dense_gradients(state, devices, len(tables.schema.tasks))]
    for name, ids in looked_up.items():
        width = 4 * tables.arrays[name].width
        whole = pmap and config.optim.tables != "dense" and tables.platform == "cpu"
        carried += _rows(name, ids, width, devices, 1 if pmap else sharers, whole)
    inputs = jax.eval_shape(lambda: example_inputs(tables))
    return Prediction(
        memory=memory,
        collectives=tuple(c for c in carried if c.devices > 1),
        flops=3 * flops.count(model, inputs).flops_per_example * own,
        update_traffic=2 * memory.update,
    )


def _check(config: ConfigDict, devices: int, sharers: int) -> None:
    if config.data.batch_size % devices:
        raise UserError(f"data.batch_size={config.data.batch_size} does not divide by {devices}")
    if devices % sharers or ROW_MULTIPLE % sharers:
        raise UserError(
            f"tables cannot be split over {sharers} of {devices} devices; expected a number that "
            f"divides {devices} and {ROW_MULTIPLE}"
        )
    if config.train.accumulate > 1:
        raise UserError("train.accumulate is not planned for; expected 1")


def _update_bytes(
    optimizer: str, state: State, tables: TablePlan, name: str, ids: int, sharers: int
) -> int:
    lie = tables.arrays[name]
    if optimizer == "dense":
        return 4 * ids * (lie.lanes + 8) + lie.lines // sharers * (4 * lie.lanes + 1)
    arrays = 3 + 2 * sum(s.shape == lie.shape for s in jax.tree.leaves(state.slots[name]))
    if tables.platform == "cpu":
        return 4 * ids * (lie.width * arrays + 8)
    window = update_by_sort.window_of(lie.split(sharers), ids, sharers)
    travel = lie.width if tables.platform == "gpu" else 2 * -(-lie.width // LANES) * LANES
    return 4 * (ids * (travel + 8) + window * lie.lanes * arrays)


def _dense_gradients(state: State, devices: int, tasks: int) -> Collective:
    size = bytes_of(state.params) + 2 * bytes_of(state.model_state) + 2 * 4 * tasks
    return Collective("dense gradients", "all-reduce", size, devices)


def _rows(
    name: str, ids: int, width: int, devices: int, sharers: int, whole: bool
) -> list[Collective]:
    """The exchange of one packed array; `width` is a row's bytes, and `whole` that the update takes
    the rows as they were looked up."""
    asked = ids * sharers // devices  # by the devices that hold the tables together
    found = [
        Collective(f"{name}: ids of the look-up", "all-gather", 4 * asked, sharers),
        Collective(f"{name}: rows", "reduce-scatter", width * asked, sharers),
        Collective(f"{name}: gradients", "all-gather", width * ids, devices),
    ]
    if sharers != devices:
        found.append(Collective(f"{name}: ids of the update", "all-gather", 4 * ids, devices))
    if whole:
        found.append(Collective(f"{name}: rows of the update", "all-gather", width * ids, devices))
    return found
