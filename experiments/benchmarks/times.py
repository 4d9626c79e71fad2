"""How long a predicted step takes on devices of given rates: sums of parts, none measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from experiments.benchmarks.exchanged import Collective
from experiments.benchmarks.needs import Prediction
from experiments.benchmarks.rates import CHECKPOINT, CORES, READING, Rates

SORTED = 8  # bytes of an id and its place


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of a step, by what takes them: matrix products, memory traffic, the network, sorts of
    ids, collectives' latency; and of reading its rows, which goes on meanwhile."""

    compute: float
    memory: float
    network: float
    sorting: float
    latency: float
    reading: float

    @property
    def step(self) -> float:
        return max(self.reading, self.work)

    @property
    def work(self) -> float:
        return self.compute + self.memory + self.network + self.sorting + self.latency

    @property
    def bound(self) -> str:
        """The part that takes longest."""
        parts = dataclasses.asdict(self)
        if self.reading < self.work:
            del parts["reading"]
        return max(parts, key=parts.get)


def of_step(predicted: Prediction, rates: Rates, devices: int, examples: int) -> Times:
    """Of one round, with `examples` on each device."""
    collectives = predicted.collectives
    traffic = predicted.row_traffic
    if rates.platform != "cpu":  # there the rate of products is that of a step
        traffic += predicted.dense_traffic
    sorts = [n for a in predicted.arrays for n in ((a.ids, a.received) if a.message else (a.ids,))]
    return Times(
        compute=predicted.flops / rates.flops,
        memory=traffic / rates.traffic,
        network=sum(on_network(c, rates, devices) for c in collectives),
        sorting=sum(sort(n, rates) for n in sorts),
        latency=rates.latency * len(collectives),
        reading=examples / (READING * CORES),
    )


def on_network(one: Collective, rates: Rates, devices: int) -> float:
    """Seconds of a collective's bytes."""
    even = one.sent / rates.network
    if one.kind != "all-to-all" or not rates.torus:
        return even
    link = rates.network / (2 * rates.torus)  # of a device, one way
    return max(even, one.sent * longest_side(devices, rates.torus) / 8 / link)


def longest_side(devices: int, axes: int) -> int:
    """Of a torus of a power of two of devices, its sides as even as can be."""
    return 2 ** math.ceil(math.log2(devices) / axes)


def sort(ids: int, rates: Rates) -> float:
    """Seconds; on CPUs they are within the rate of a row update."""
    if rates.platform == "cpu" or ids < 2:
        return 0.0
    stages = math.ceil(math.log2(ids))
    return stages * (stages + 1) / 2 * 2 * SORTED * ids / rates.traffic


def routing(predicted: Prediction, rates: Rates, devices: int) -> float:
    """Seconds of a step that may pass during other work, since it routes the ids of the next one:
    the sort of a device's ids, the end of the look-up's round, and the ids' way to their owners."""
    routed = [a for a in predicted.arrays if a.message]
    sorts = sum(sort(a.ids, rates) for a in routed)
    moved: Iterable[Collective] = (c for a in routed for c in a.message.round()[:2])
    return sorts + sum(on_network(c, rates, devices) + rates.latency for c in moved)


def checkpoint_bytes(predicted: Prediction) -> int:
    """What a checkpoint has: tables and slots of all devices, and one copy of what is dense."""
    split = predicted.arrays[0].message
    owners = split.owners if split else 1
    memory = predicted.memory
    return owners * (memory.tables + memory.slots) + memory.dense


def checkpoint_seconds(predicted: Prediction, rates: Rates, devices: int) -> float:
    """To write one, or to read it."""
    hosts = -(-devices // rates.host)
    return checkpoint_bytes(predicted) / (hosts * CHECKPOINT)
