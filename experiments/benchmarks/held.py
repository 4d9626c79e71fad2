"""What a device holds in training, from formulas. Letters as in `needs`; bytes of a device:

| part | held between steps |
|---|---|
| tables | s V D / K; with arrays that every device has, K = 1 |
| slots | adam 4 V (2 D + 1) / K, adagrad 4 V / K, sgd none, dense 8 V D / K |
| dense | 3 times the dense parameters (Adam has two moments), normalisation statistics |
| batch | a chunk's steps times B / n examples |

| part | held within a step |
|---|---|
| routes | 8 (5 N + 3 P), where no row travels 16 N: of a step's ids, and of the next one's |
| gradients | of the dense parameters; twice between GPUs, which pack them for an all-reduce |
| rows | 8 D' N: rows looked up, and their gradients |
| activations | what JAX saves of B / n examples for the backward pass |
| merged, on GPUs | outputs of the products that one input shares, their gradients, their weights |
| update | the largest part, see `updated.py` |
| on chip, on TPUs | the largest slot of a number by row that fits half of its own memory, 128 MiB |

All but rows, activations, merged and update are there all the time; beside them are the first three
of these, then what the update takes; on CPUs, whose compiler orders by less than memory, all at
once. That is an upper bound: what is computed within an operation is never in memory, and TPUs keep
bfloat16 of some. Dropout under `pmap` breaks it: masks are drawn for all B examples on every
device.
"""

from __future__ import annotations

import dataclasses

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.state import State, example_batch
from dtn_jax.tables.plan import TablePlan
from experiments.benchmarks import updated
from experiments.benchmarks.activations import bytes_of, saved_bytes
from experiments.benchmarks.merged import largest_merged
from experiments.benchmarks.updated import Updated

ON_CHIP = 2**26  # bytes


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of a device, by the parts of the tables above.

    Attributes:
      at_once: activations are still held while rows are updated.
    """

    tables: int
    slots: int
    dense: int
    batch: int
    routes: int
    gradients: int
    rows: int
    activations: int
    merged: int
    update: int
    on_chip: int
    at_once: bool

    @property
    def arguments(self) -> int:
        """Held between steps: what a compiled chunk is given (and gives back in place)."""
        return self.tables + self.slots + self.dense + self.batch

    @property
    def temporaries(self) -> int:
        """An upper bound of what a step holds beside it."""
        computed = self.rows + self.activations + self.merged
        beside = computed + self.update if self.at_once else max(computed, self.update)
        return self.routes + self.gradients + self.on_chip + beside

    @property
    def peak(self) -> int:
        return self.arguments + self.temporaries


def memory(
    config: ConfigDict,
    model: nn.Module,
    tables: TablePlan,
    state: State,
    arrays: dict[str, Updated],
    devices: int,
) -> Memory:
    """Of one of `devices`; `arrays` are the packed ones."""

    def sizes(parts: dict, by_row: bool = False) -> list[int]:
        """Of the arrays of a device; or of those alone that have a number for each row."""
        return [
            bytes_of(leaf) // (arrays[name].message.owners if arrays[name].message else 1)
            for name, part in parts.items()
            for leaf in jax.tree.leaves(part)
            if not by_row or leaf.shape == tables.arrays[name].by_row
        ]

    by_row = sizes(state.slots, by_row=True) if tables.platform == "tpu" else []
    outputs, weights = largest_merged(model, tables) if tables.platform == "gpu" else (0, 0)
    own, packed = config.data.batch_size // devices, tables.platform == "gpu" and devices > 1
    example = bytes_of(jax.eval_shape(lambda: example_batch(tables.schema, 1)))
    return Memory(
        tables=sum(sizes(state.tables)),
        slots=sum(sizes(state.slots)),
        dense=bytes_of((state.params, state.opt_state, state.model_state)),
        batch=CHUNK_STEPS * own * example,
        routes=sum(array.routes for array in arrays.values()),
        gradients=(2 if packed else 1) * bytes_of(state.params),
        rows=sum(8 * array.padded_width * array.ids for array in arrays.values()),
        activations=own * saved_bytes(config, model, tables),
        merged=4 * (2 * own * outputs + weights),
        update=updated.most(arrays.values(), tables.platform == "cpu"),
        on_chip=max((n for n in by_row if n <= ON_CHIP), default=0),
        at_once=tables.platform == "cpu",
    )
