"""What a device does a second: the makers' figures, and the share of them that a step reaches."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a device does.

    Attributes:
      flops: FLOP/s of matrix products in float32 at JAX's default precision.
      traffic: bytes/s to and from memory in a row update.
      network: bytes/s that it sends.
      memory: bytes; 0 where it is not asked.
      devices: the most that share this network.
      platform: cpu, gpu or tpu: how tables lie and are updated.
      source: of the figures.
    """

    flops: float
    traffic: float
    network: float
    memory: float
    devices: int
    platform: str
    source: str


# Assumed, not measured: the makers' peaks, times the share that a step is taken to reach.
SHARES = {"flops": 0.4, "traffic": 0.5, "network": 0.8}


PEAKS = {
    "H100, 400 Gb/s": Rates(
        flops=495e12,
        traffic=3.35e12,
        network=50e9,
        memory=80e9,
        devices=1024,
        platform="gpu",
        source="NVIDIA H100 SXM: dense TF32, HBM3; one 400 Gb/s network card a GPU (NVLink unused)",
    ),
    "TPU v5e": Rates(
        flops=197e12,
        traffic=819e9,
        network=100e9,
        memory=16e9,
        devices=256,
        platform="tpu",
        source="Google Cloud TPU v5e: bf16, HBM2, half of 1600 Gb/s between chips (both ways); "
        "a pod has 256",
    ),
}


NETWORK_HERE = 25e9 / 8  # bytes/s: a network card of 25 Gb/s, assumed


RATES = {
    name: dataclasses.replace(peak, **{k: getattr(peak, k) * s for k, s in SHARES.items()})
    for name, peak in PEAKS.items()
}
