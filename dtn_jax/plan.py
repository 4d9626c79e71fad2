"""Which slice a run needs: what a device holds, and how long a step takes, on so many devices.

The run's own training step is compiled, from shapes alone, for simulated devices of this machine,
and its memory, FLOPs, memory traffic and collectives are read off the program. For other numbers of
devices there is one rule (see `tables.routed`): tables are split over all devices, a device's
examples stay the same, and what it sends, holds, reads and writes grows with the room in its
messages alone: an owner works through all of their places, with or without a row. So the step is
compiled with the room that it has on SIMULATED devices and with that of the largest slice;
everything else lies on the line through both. Nothing runs: times are sums of the makers' peaks.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.losses.pairwise import read_pairwise
from dtn_jax.models import build as architectures
from dtn_jax.parallel.memory import bytes_of
from dtn_jax.parallel.mesh import Placement, make_placement, share_tables
from dtn_jax.report.grid import Grid
from dtn_jax.run.run import build_model
from dtn_jax.run.state import State, create_state, example_batch
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.schema import Schema
from dtn_jax.tables import routes
from dtn_jax.tables.plan import TablePlan, make_plan
from dtn_jax.tables.stored_rows import SHORT

SIMULATED, MOST = 8, 1024  # devices
LONG = 64  # table rows for each id of a device, beyond which only their memory grows
# A program that never runs needs none of LLVM's optimisations.
UNOPTIMISED = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
COLLECTIVE = re.compile(
    r" = (.*?) (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)\("
    r'.*?op_name="([^"]*)"'
)
ARRAY = re.compile(r"(?:pred|[a-z]+(\d+))\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Device:
    """What its maker says of a device.

    Attributes:
      platform: gpu or tpu: how tables lie and are updated.
      flops: FLOP/s of matrix products in float32 at JAX's default precision.
      traffic: bytes/s to and from memory.
      network: bytes/s that it sends.
      memory: bytes.
      most: devices that share this network, up to the 1024 over which tables can be split.
      torus: axes of the network between chips, of two links each; 0 for switches.
      source: of the figures.
    """

    platform: str
    flops: float
    traffic: float
    network: float
    memory: float
    most: int
    torus: int
    source: str


GIB = 2**30
DEVICES: Mapping[str, Device] = {
    "h100": Device("gpu", 495e12, 3350e9, 50e9, 80e9, 1024, 0,
                   "NVIDIA H100 SXM data sheet: dense TF32, HBM3; one 400 Gb/s network card a GPU, "
                   "NVLink unused"),
    "v5e": Device("tpu", 197e12, 819e9, 100e9, 15.75 * GIB, 256, 2,
                  "cloud.google.com/tpu/docs/v5e: bf16, HBM, half of 1600 Gb/s between chips (both "
                  "ways); memory by its compiler; a pod has 256"),
    "v5p": Device("tpu", 459e12, 2765e9, 600e9, 95e9, 1024, 3,
                  "cloud.google.com/tpu/docs/v5p: bf16, HBM, half of 1200 GB/s between chips (both "
                  "ways); a slice has up to 6144"),
    "v6e": Device("tpu", 918e12, 1600e9, 400e9, 31.25 * GIB, 256, 2,
                  "cloud.google.com/tpu/docs/v6e: bf16, HBM, half of 800 GB/s between chips (both "
                  "ways); memory by its compiler; a pod has 256"),
}  # fmt: skip
SHARES = {"products": 0.4, "memory": 0.5, "network": 0.8}  # of the peaks, assumed
ASSUMED = (
    "a step reaches "
    + ", ".join(f"{share:.0%} of the peak of {part}" for part, share in SHARES.items()),
    "parts of a step follow each other",
    "a step moves to and from memory, and holds beside the tables, what XLA's compiler for CPUs "
    "says; a TPU pads rows of less than 128 numbers",
    "an all-to-all on a torus passes links of its longest side, each a ring, a quarter of it on "
    "average; other collectives are rings over all links",
    "tables are split over all devices, and rows find room in the first round",
    "left out: latencies, reading, evaluation, checkpoints, preparing the data",
)


@dataclasses.dataclass(frozen=True)
class Program:
    """A config's training, placed on devices. No array is made.

    Attributes:
      by_hand: rows travel as `tables.routed` has it; False leaves even the tables to XLA.
    """

    config: ConfigDict
    schema: Schema
    model: nn.Module
    tables: TablePlan
    at: Placement
    by_hand: bool = True

    def create(self) -> State:
        return create_state(self.config, self.model, self.tables)

    @functools.cached_property
    def state(self) -> State:
        """Shapes."""
        return jax.eval_shape(self.create)

    def train_chunk(self) -> Callable:
        mesh = self.at.table_mesh if self.by_hand else None
        step = make_train_step(self.config, self.model, self.tables, 1000, mesh)
        return make_train_chunk(step, CHUNK_STEPS)

    def compile(self, options: Mapping | None = None) -> jax.stages.Compiled:
        """A chunk of steps."""
        chunk = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=self.at.chunk()),
            chunk_shapes(
                self.schema,
                self.config.data.batch_size,
                bool(read_pairwise(self.config, self.schema)),
            ),
        )
        run = self.at.compile(self.train_chunk(), self.state)
        given = self.at.state_places(self.state), chunk, CHUNK_STEPS
        return run.lower(*given).compile(compiler_options=options)


def make_program(
    config: ConfigDict, schema: Schema, at: Placement | None = None, by_hand: bool = True
) -> Program:
    """The training of a config on a schema; `at` defaults to the devices that the config names."""
    at = at or make_placement(config)
    views = architectures.views(config.model, schema)
    codebooks = architectures.codebooks(config.model, schema)
    tables = make_plan(schema, config.model, views, codebooks, at.platform)
    if by_hand:
        tables, at = share_tables(tables, at, config.data.batch_size)
    return Program(config, schema, build_model(config, schema), tables, at, by_hand)


def chunk_shapes(schema: Schema, batch_size: int, grouped: bool = False) -> Batch:
    """Of a chunk's arrays `[CHUNK_STEPS, B, ...]`; `grouped`: with the rows' groups."""
    batch = jax.eval_shape(lambda: example_batch(schema, batch_size, grouped))
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((CHUNK_STEPS, *a.shape), a.dtype), batch)


def collectives(text: str) -> Counter[str]:
    """{kind: bytes} of the whole arrays that a step of one round makes or reduces, by the text of
    a compiled chunk: JAX's names tell the loop of steps, and further rounds within it."""
    sizes: Counter[str] = Counter()
    for arrays, kind, name in COLLECTIVE.findall(text):
        if name.count("while/body") == 1:
            for bits, dims in ARRAY.findall(arrays):
                count = math.prod(int(n) for n in dims.split(",") if n)
                sizes[kind] += count * max(1, int(bits or 8) // 8)
    return sizes


@dataclasses.dataclass(frozen=True)
class Step:
    """What a device does in a step.

    Attributes:
      temporaries: bytes that it holds beside what it holds between steps.
      routed: bytes of its messages to owners.
      reduced: bytes of the arrays that all devices sum.
      flops: of its examples.
      accessed: bytes that its memory reads and writes.
    """

    temporaries: float
    routed: float
    reduced: float
    flops: float
    accessed: float


def read_step(program: Program) -> Step:
    compiled = program.compile(UNOPTIMISED)
    sent, cost = collectives(compiled.as_text()), compiled.cost_analysis()
    routed = sent.pop("all-to-all", 0)
    temporaries = compiled.memory_analysis().temp_size_in_bytes
    return Step(temporaries, routed, sent.total(), cost["flops"], cost["bytes accessed"])


@dataclasses.dataclass(frozen=True)
class Extrapolation:
    """A config's step, with the same examples on each device, for any number of devices.

    Attributes:
      examples: of a device.
      tables: the plan of all their rows.
      split, copied: bytes of the state that devices share, and that each of them has.
      narrow, wide: the step with the rooms of two numbers of devices, `of`.
    """

    examples: int
    tables: TablePlan
    split: int
    copied: int
    narrow: Step
    wide: Step
    of: tuple[int, int]

    def places(self, devices: int) -> int:
        """Rows for which a device's messages have room."""
        return _places(self.tables, self.examples, devices)

    def held(self, devices: int) -> float:
        """Bytes of a device, at most, within a step."""
        return self.split / devices + self.copied + self._between(devices, "temporaries")

    @property
    def checkpoint(self) -> int:
        """Bytes of one."""
        return self.split + self.copied

    def accessed(self, devices: int) -> float:
        """Bytes that the memory of a device reads and writes in a step."""
        return self._between(devices, "accessed")

    def sent(self, devices: int, hops: float = 1) -> float:
        """Bytes that a device sends in a step, by rings; a message counts once for each hop."""
        messages = max(1, hops) * self._between(devices, "routed")
        return (messages + 2 * self.narrow.reduced) * (devices - 1) / devices

    def _between(self, devices: int, part: str) -> float:
        few, many = (self.places(n) for n in self.of)
        along = (self.places(devices) - few) / (many - few) if many > few else 0.0
        low, high = getattr(self.narrow, part), getattr(self.wide, part)
        return low + along * (high - low)


def extrapolate(
    config: ConfigDict, schema: Schema, platform: str, most: int = MOST, base: int = SIMULATED
) -> Extrapolation:
    """Compiles the step of a config for `base` devices, with two rooms, laid out for a platform.

    Args:
      config: its `data.batch_size` is that of a device.
      most: devices up to which room in messages is looked at.

    Raises:
      UserError: a config that cannot be trained so.
    """
    if config.parallel.strategy != "shard":
        raise UserError("only parallel.strategy=shard splits tables over a slice; plan with it")

    def program(schema: Schema, room: int = 0) -> Program:
        changed = ConfigDict(config.to_dict())
        changed.data.batch_size = changed.data.eval_batch_size = base * config.data.batch_size
        changed.parallel.update(devices=base, table_devices=0, table_platform=platform)
        changed.parallel.message_rows = room
        return make_program(changed, schema)

    whole, examples = program(schema), config.data.batch_size
    tables = whole.tables
    places = _places(tables, examples, most)
    # With SHORT rows or fewer for each place, a device updates its tables in another way.
    enough = (SHORT + 1) * base * places
    long = max(LONG * examples * tables.ids_of_example["embedding"], enough)
    shorter = tables.rows > long and config.optim.tables != "dense"
    measured = with_table_rows(schema, long if shorter else 0)
    near = program(measured)
    narrow, wide = read_step(near), read_step(program(measured, -(-places // base)))
    if shorter:  # a write in place counts as one of the whole table, which it is not
        twice = program(with_table_rows(schema, 2 * long))
        more = read_step(twice).accessed - narrow.accessed
        counted = more * near.tables.rows / (twice.tables.rows - near.tables.rows)
        narrow, wide = (
            dataclasses.replace(step, accessed=step.accessed - counted) for step in (narrow, wide)
        )
        if min(narrow.accessed, wide.accessed) <= 0:
            raise UserError("a step's memory traffic cannot be told from its tables'; report this")
    state = whole.state
    split = [n for n in tables.arrays if n not in tables.everywhere]
    shared = bytes_of([(state.tables[n], state.slots[n]) for n in split])
    copied = bytes_of(state) - shared + bytes_of(chunk_shapes(schema, examples))
    return Extrapolation(examples, tables, shared, copied, narrow, wide, (base, most))


def _places(tables: TablePlan, examples: int, devices: int) -> int:
    ids = {name: n * examples for name, n in tables.ids_of_example.items()}
    return sum(
        devices * routes.room(lie, ids[name], devices, tables.platform)
        for name, lie in tables.arrays.items()
        if name not in tables.everywhere
    )


def with_table_rows(schema: Schema, rows: int) -> Schema:
    """The schema with tables of about so many rows together, each in its proportion; 0 leaves
    them."""
    if not rows:
        return schema
    factor = rows / sum(schema.tables().values())
    fields = (dataclasses.replace(f, rows=max(1, int(f.rows * factor))) for f in schema.fields)
    return dataclasses.replace(schema, fields=tuple(fields))


@dataclasses.dataclass(frozen=True)
class Slice:
    """So many devices, and what they would do: seconds of a step by part, hours of an epoch."""

    devices: int
    held: float
    seconds: Mapping[str, float]
    hours: float


def slices(step: Extrapolation, device: Device, rows: int) -> list[Slice]:
    """Those of 1, 2, 4 ... devices, for an epoch of so many rows."""
    every = []
    for devices in (2**k for k in range(device.most.bit_length())):
        hops = 1.0
        if device.torus:  # a quarter of the longest side, by one of 2 links an axis
            side = 2 ** math.ceil(math.log2(devices) / device.torus)
            hops = side / 8 * 2 * device.torus
        work = {
            "products": step.narrow.flops / device.flops,
            "memory": step.accessed(devices) / device.traffic,
            "network": step.sent(devices, hops) / device.network,
        }
        seconds = {part: taken / SHARES[part] for part, taken in work.items()}
        steps = math.ceil(rows / (step.examples * devices))
        hours = steps * sum(seconds.values()) / 3600
        every.append(Slice(devices, step.held(devices), seconds, hours))
    return every


def grid(name: str, step: Extrapolation, epoch: int, hours: float) -> Grid:
    """The slices of a device next to the smallest one that fits, and takes at most so many hours
    for an epoch of so many rows."""
    device = DEVICES[name]
    every = slices(step, device, epoch)
    fitting = [one for one in every if one.held <= device.memory]
    good = [one for one in fitting if one.hours <= hours]
    if good:
        title = f"{name}: {good[0].devices:,} devices are enough"
    else:
        title = f"{name}: no slice {'is fast enough' if fitting else 'fits'}"
    place = every.index(good[0] if good else every[-1])
    rows = []
    for one in every[max(0, place - 1) : place + 3]:
        remark = "" if one.hours <= hours else "too slow"
        remark = remark if one in fitting else "does not fit"
        cells = (f"{one.devices:,}", f"{one.held / 1e9:,.1f}", f"{one.held / device.memory:.0%}")
        times = (*one.seconds.values(), sum(one.seconds.values()))
        cells += (*(f"{1e3 * t:,.2f}" for t in times), f"{one.hours:,.3g}")
        rows.append((*cells, "the smallest" if one in good[:1] else remark))
    header = ("devices", "GB", "of it", *(f"{part}\nms" for part in SHARES))
    header = (*header, "a step\nms", "hours", "")
    return Grid(header, rows, title, f"{device.source}.", left=0)
