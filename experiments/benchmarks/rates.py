"""What a device does a second: the makers' figures, and the share of them that a step reaches.

Nothing here was measured on such a device. `ASSUMED` names every assumption beside the peaks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a device does.

    Attributes:
      flops: FLOP/s of matrix products in float32 at JAX's default precision.
      traffic: bytes/s to and from memory.
      network: bytes/s that it sends.
      memory: bytes; 0 where it is not asked.
      devices: the most that share this network, up to the 1024 over which tables can be split.
      host: devices of a host.
      platform: cpu, gpu or tpu: how tables lie and are updated.
      torus: axes of the network between chips, of two links each; 0 for switches.
      latency: seconds of a collective that carries nothing.
      source: of the figures.
    """

    flops: float
    traffic: float
    network: float
    memory: float
    devices: int
    host: int
    platform: str
    torus: int
    latency: float
    source: str


# Assumed, not measured: the makers' peaks, times the share that a step is taken to reach.
SHARES = {"flops": 0.4, "traffic": 0.5, "network": 0.8}
READING = 2e6  # rows/s of a processor's core: the goal of the suite `pipeline`, met here
CORES = 8  # that read for a device
CHECKPOINT = 1e9  # bytes/s of each host, to and from a shared file system
ASSUMED = (
    f"shares of the peaks that a step reaches: {SHARES['flops']:.0%} of FLOP/s, "
    f"{SHARES['traffic']:.0%} of memory, {SHARES['network']:.0%} of network",
    "a sort takes as many passes over ids and places as a bitonic network has",
    "an all-to-all on a torus passes links of its longest side, each a ring, a quarter of it on "
    "average; other collectives are rings over all links",
    "a collective without bytes takes 30 µs between H100s and 10 µs between TPUs",
    f"{CORES} cores a device read {READING / 1e6:.0f} million rows/s each, ahead of the step",
    f"checkpoints go through each host at {CHECKPOINT / 1e9:.0f} GB/s",
)
LEFT_OUT = (
    "left out: overlap of arithmetic and network, rounds after the first, kernels' start, "
    "preparing logs"
)

PEAKS: Mapping[str, Rates] = {
    "h100": Rates(
        flops=495e12,
        traffic=3.35e12,
        network=50e9,
        memory=80e9,
        devices=1024,
        host=8,
        platform="gpu",
        torus=0,
        latency=30e-6,
        source="NVIDIA H100 SXM data sheet: dense TF32, HBM3; one 400 Gb/s network card a GPU "
        "(NVLink unused)",
    ),
    "v5e": Rates(
        flops=197e12,
        traffic=819e9,
        network=100e9,
        memory=15.75 * 2**30,
        devices=256,
        host=8,
        platform="tpu",
        torus=2,
        latency=10e-6,
        source="cloud.google.com/tpu/docs/v5e: bf16, HBM, half of 1600 Gb/s between chips (both "
        "ways); memory by its compiler; a pod has 256",
    ),
    "v5p": Rates(
        flops=459e12,
        traffic=2765e9,
        network=600e9,
        memory=95e9,
        devices=1024,
        host=4,
        platform="tpu",
        torus=3,
        latency=10e-6,
        source="cloud.google.com/tpu/docs/v5p: bf16, HBM, half of 1200 GB/s between chips (both "
        "ways); a slice has up to 6144",
    ),
    "v6e": Rates(
        flops=918e12,
        traffic=1600e9,
        network=400e9,
        memory=31.25 * 2**30,
        devices=256,
        host=8,
        platform="tpu",
        torus=2,
        latency=10e-6,
        source="cloud.google.com/tpu/docs/v6e: bf16, HBM, half of 800 GB/s between chips (both "
        "ways); memory by its compiler; a pod has 256",
    ),
}


RATES: Mapping[str, Rates] = {
    name: dataclasses.replace(peak, **{k: getattr(peak, k) * s for k, s in SHARES.items()})
    for name, peak in PEAKS.items()
}
