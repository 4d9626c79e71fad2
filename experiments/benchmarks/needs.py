"""What a training step needs on many devices, from formulas: memory, exchange, arithmetic.

Nothing is compiled and no array is made, so a run that fits no machine at hand can be sized.
Letters: n devices, of which K hold a copy of the tables together (K = 1 with `pmap`); B examples
in a batch over all devices; for each packed array V rows of D numbers, and N ids that a device
looks up in it, repeats counted: B / n times the slots and views, or B / n times HCNet's pairs and
hashes. A message has room for C rows (`routes.room`), and a device has P = K C places for what it
sends, and Q = n C for what it updates from; with `pmap` Q = n N. A row lies alone, or on TPUs in a
line of L numbers; there a row that does not lie in a table is padded to D' numbers, a multiple of
128, elsewhere D' = D. Numbers have 4 bytes, those of tables s.

What is held is in `held`, what travels in `exchanged`, how rows are updated in `updated`.
"""

from __future__ import annotations

import dataclasses
import math

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.errors import UserError
from dtn_jax.models import flops
from dtn_jax.state import State, create_state, example_batch, example_inputs
from dtn_jax.tables import routes
from dtn_jax.tables.lookup import row_ids
from dtn_jax.tables.plan import ROW_MULTIPLE, TablePlan, check_updates, with_copies
from experiments.benchmarks import held
from experiments.benchmarks.activations import bytes_of
from experiments.benchmarks.exchanged import Collective, Message, of_copied, of_replicas
from experiments.benchmarks.updated import Updated


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Of a training step.

    Attributes:
      memory: of each device.
      collectives: of a step of one round; each device takes part in all.
      further: of each further round, in which a device asks for rows that found no room.
      flops: of a step on each device: 3 times the forward matrix products.
      dense_traffic: bytes read and written by the step of dense parameters (7 times theirs, with
        Adam), and by activations (each written once and read once).
      arrays: how the rows of each packed array are updated.
    """

    memory: held.Memory
    collectives: tuple[Collective, ...]
    further: tuple[Collective, ...]
    flops: float
    dense_traffic: int
    arrays: tuple[Updated, ...]

    @property
    def carried(self) -> int:
        return sum(c.bytes for c in self.collectives)

    @property
    def sent(self) -> float:
        return sum(c.sent for c in self.collectives)

    @property
    def received(self) -> int:
        """The most places, of one array, that a device updates from."""
        return max(array.received for array in self.arrays)

    @property
    def row_traffic(self) -> int:
        """Bytes that a device's memory reads and writes to look up and to update rows."""
        return sum(array.traffic for array in self.arrays)


def predict(config: ConfigDict, model: nn.Module, tables: TablePlan, devices: int) -> Prediction:
    """What a step of the config's batch size takes on each of `devices`.

    `config.parallel` gives strategy, table_devices and message_rows; its `devices` is not read.

    Raises:
      UserError: tables or batches that cannot be split so, more rows than int32 ids can tell
        apart, or a batch that is stepped through in parts.
    """
    alone = config.parallel.strategy == "pmap" or devices == 1
    owners = 1 if alone else config.parallel.table_devices or devices
    batch_size = config.data.batch_size
    _check(config, devices, owners)
    own = batch_size // devices
    tables = tables if alone else with_copies(tables, own)
    check_updates(tables, batch_size, owners)
    state = jax.eval_shape(lambda: create_state(config, model, tables))
    arrays = {
        name: _array(config, state, tables, name, ids, devices, owners, alone)
        for name, ids in ids_of_device(tables, own).items()
    }
    inputs = jax.eval_shape(lambda: example_inputs(tables))
    memory = held.memory(config, model, tables, state, arrays, devices)
    collectives, further = [_dense_gradients(state, devices, len(tables.schema.tasks))], []
    for name, array in arrays.items():
        if array.message:
            collectives += array.message.round()
            further += array.message.round(further=True)
        elif alone:
            read = tables.platform == "cpu" and config.optim.tables != "dense"
            collectives += of_replicas(
                name, array.lie, array.itemsize, array.ids, devices, looked_up=read
            )
        else:
            collectives += of_copied(name, array.lie, devices)
    return Prediction(
        memory=memory,
        collectives=tuple(c for c in collectives if c.devices > 1),
        further=tuple(c for c in further if c.devices > 1),
        flops=3 * flops.count(model, inputs).flops_per_example * own,
        dense_traffic=7 * bytes_of(state.params) + 2 * memory.activations,
        arrays=tuple(arrays.values()),
    )


def ids_of_device(tables: TablePlan, examples: int) -> dict[str, int]:
    """N of each packed array, of a device that has so many examples."""
    asked = jax.eval_shape(lambda: row_ids(tables, example_batch(tables.schema, examples)))
    return {name: math.prod(ids.shape) for name, ids in asked.items()}


def _array(
    config: ConfigDict,
    state: State,
    tables: TablePlan,
    name: str,
    ids: int,
    devices: int,
    owners: int,
    alone: bool,
) -> Updated:
    lie, item = tables.arrays[name], state.tables[name].dtype.itemsize
    message = None
    if not alone and name not in tables.everywhere:
        room = routes.room(lie, ids, owners, tables.platform, config.parallel.message_rows)
        message = Message(name, lie, item, ids, room, owners, devices)
    return Updated(
        lie=lie.split(owners) if message else lie,
        itemsize=item,
        ids=ids,
        message=message,
        received=message.received if message else ids * devices if alone else ids,
        repeats=devices if message else 0,
        moments=sum(s.shape == lie.shape for s in jax.tree.leaves(state.slots[name])),
        platform=tables.platform,
        whole=config.optim.tables == "dense" or not (message or alone),
        copied=not (message or alone),
    )


def _check(config: ConfigDict, devices: int, owners: int) -> None:
    if config.data.batch_size % devices:
        raise UserError(f"data.batch_size={config.data.batch_size} does not divide by {devices}")
    if devices % owners or ROW_MULTIPLE % owners:
        raise UserError(
            f"tables cannot be split over {owners} of {devices} devices; expected a number that "
            f"divides {devices} and {ROW_MULTIPLE}"
        )
    if config.train.accumulate > 1:
        raise UserError("train.accumulate is not planned for; expected 1")


def _dense_gradients(state: State, devices: int, tasks: int) -> Collective:
    size = bytes_of(state.params) + 2 * bytes_of(state.model_state) + 2 * 4 * tasks
    return Collective("dense gradients", "all-reduce", size, devices)
