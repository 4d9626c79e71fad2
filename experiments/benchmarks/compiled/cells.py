"""What is compiled: the committed list, and how a cell is written.

A cell is written as a topology, a model and whatever differs from the defaults, with commas
between: `v5p:4x4x4,dtn,rows=1e9,adagrad`. A cell of the kind `update` has no model.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from ml_collections import ConfigDict

from dtn_jax.config import base_config
from dtn_jax.errors import UserError, choose
from dtn_jax.models.histories import HISTORIES
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables.plan import LARGEST_ID
from experiments.benchmarks.compiled.topologies import check_topology
from experiments.benchmarks.step import FIELDS, released_config

MEAN = "mean"  # of a history's items
MODELS: Mapping[str, Mapping[str, object]] = {
    "shared_bottom": {"model.architecture": "shared_bottom", "model.experts": "mlp"},
    "dtn": {"model.architecture": "dtn", "model.experts": "gdcn+masknet"},
    "released": {"model.architecture": "dtn", "model.experts": "gdcn+masknet+hcnet"},
    "small_dtn": {
        "model.architecture": "dtn",
        "model.experts": "gdcn+masknet",
        "model.expert_dim": 16,
        "model.gdcn.layers": 1,
        "model.masknet.hidden": (16,),
        "model.tower_hidden": (8,),
    },
}
WORDS: Mapping[str, tuple[str, ...]] = {
    "model": tuple(MODELS),
    "kind": ("train", "score", "create", "update"),
    "optimizer": ("adam", "adagrad", "sgd"),
    "dtype": ("float32", "bfloat16"),
    "strategy": ("shard", "pmap"),
    "pooling": (MEAN, *HISTORIES),
}
NUMBERS = {
    "rows": "rows",
    "E": "dim",
    "each": "each",
    "history": "history",
}  # key in a cell: attribute
GRAMMAR = (
    "TOPOLOGY,WORD,... with a topology (v5e:2x2, v6e:8x8, v5p:4x4x4, h100:64 and others), a model "
    f"({', '.join(MODELS)}), a kind (train, score, create: the initialisation, or update: look-up "
    "and row update alone, without a model), an optimizer (adam, adagrad, sgd), float32 or "
    "bfloat16 tables, shard or pmap, and rows=1e7 of all tables, E=64, each=1024 examples a "
    "device, history=50 earlier items beside one of the fields (default: none) and how they are "
    f"pooled ({', '.join((MEAN, *HISTORIES))}); what stands first, or is given here, is the default"
)


@dataclasses.dataclass(frozen=True)
class Cell:
    """A program to compile.

    Attributes:
      topology: of the devices, as in topologies.py.
      model: a key of MODELS; '' for the kind `update`.
      kind: train (a chunk of steps), score, create (the state at step 0) or update (the look-up and
        the update of ids that lie on the device, in a loop as long as a chunk).
      rows: V, of all tables.
      dim: E.
      each: examples a device and step.
      history: slots of a sequence whose target is the first field; 0 is none.
      pooling: of that sequence.
    """

    topology: str
    model: str = ""
    kind: str = "train"
    optimizer: str = "adam"
    dtype: str = "float32"
    strategy: str = "shard"
    rows: int = 10**7
    dim: int = 64
    each: int = 1024
    history: int = 0
    pooling: str = MEAN

    @property
    def name(self) -> str:
        """The shortest text that `read_cell` makes this cell of."""
        default = {f.name: f.default for f in dataclasses.fields(self)}
        named = [self.topology, self.model, self.kind if self.kind != "train" else ""]
        named.append(f"rows={short(self.rows)}")
        for key, attribute in NUMBERS.items():
            value = getattr(self, attribute)
            if key != "rows" and value != default[attribute]:
                named.append(f"{key}={short(value)}")
        for attribute in ("optimizer", "dtype", "strategy", "pooling"):
            value = getattr(self, attribute)
            named.append(value if value != default[attribute] else "")
        return ",".join(filter(None, named))

    @property
    def file_name(self) -> str:
        return re.sub(r"[^\w.=]+", "_", self.name)

    @property
    def chip(self) -> str:
        return self.topology.partition(":")[0]

    def config(self, devices: int) -> ConfigDict:
        if self.model == "released":
            config = released_config("gdcn+masknet+hcnet", "float32", False)
        else:
            config = base_config()
            config.update_from_flattened_dict(MODELS[self.model or "shared_bottom"])
        config.model.embedding_dim = self.dim
        config.data.batch_size = config.data.eval_batch_size = self.each * devices
        config.optim.tables, config.optim.table_dtype = self.optimizer, self.dtype
        config.parallel.strategy = self.strategy
        config.model.histories = "" if self.pooling == MEAN else self.pooling
        return config

    def schema(self) -> Schema:
        fields = tuple(Field(f"f{i}", rows=self.rows // FIELDS) for i in range(FIELDS))
        if self.history:
            like = {"kind": "sequence", "table": "f0", "target": "f0", "pooling": "mean"}
            fields += (Field("seen", rows=fields[0].rows, slots=self.history, **like),)
        return Schema("compiled", fields, (Task("click"), Task("order", upstream=("click",))))


def short(number: int) -> str:
    """1e9 for 1000000000."""
    return f"{number:g}".replace("e+0", "e").replace("e+", "e")


def read_cell(text: str) -> Cell:
    """Raises UserError where the text is no cell: says what it may be."""
    topology, *words = [word.strip() for word in text.split(",")]
    check_topology(topology)
    found: dict[str, object] = {"topology": topology}
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            choose("key of a cell", key, NUMBERS)
            attribute, content = NUMBERS[key], whole(key, value)
        else:
            choose("word of a cell", word, [w for group in WORDS.values() for w in group])
            attribute = next(a for a, group in WORDS.items() if word in group)
            content = word
        if attribute in found:
            raise UserError(f"{text!r}: {word!r} beside {found[attribute]!r}; expected one of them")
        found[attribute] = content
    cell = Cell(**found)
    if not FIELDS <= cell.rows <= LARGEST_ID:
        raise UserError(
            f"{text!r}: rows={short(cell.rows)}; expected {FIELDS}, a row for each field, to "
            f"{LARGEST_ID:,}: ids are int32"
        )
    if (cell.kind == "update") == bool(cell.model):
        raise UserError(f"{text!r}: expected a model ({', '.join(MODELS)}) or the kind update")
    if cell.pooling != MEAN and not cell.history:
        raise UserError(f"{text!r}: {cell.pooling} pools a history; give its slots, history=50")
    return cell


def read_cells(texts: list[str]) -> tuple[Cell, ...]:
    """Cells of all texts, each with one or with several and `;` between."""
    cells = tuple(read_cell(one) for text in texts for one in text.split(";") if one.strip())
    if texts and not cells:
        raise UserError(f"no cell in {';'.join(texts)!r}; expected {GRAMMAR}")
    return cells


def whole(key: str, value: str) -> int:
    try:
        number = float(value)
    except ValueError:
        number = 0
    if number < 1 or number != int(number):
        raise UserError(f"{key}={value}: expected a whole number of at least 1, such as 1e7")
    return int(number)
