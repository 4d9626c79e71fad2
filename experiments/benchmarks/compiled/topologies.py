"""Accelerators that are described, not there: their devices, memory and environment."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

import jax
from jax.experimental import topologies

from dtn_jax.errors import UserError, choose
from dtn_jax.tables.plan import ROW_MULTIPLE


@dataclasses.dataclass(frozen=True)
class Chip:
    """A device.

    Attributes:
      platform: tpu or cuda.
      memory: bytes that a program may take.
      example: a topology of it.
    """

    platform: str
    memory: float
    example: str


COMPILERS = ("jax", "libtpu", "jax-cuda13-plugin", "nvidia-cuda-nvcc")  # packages
GIB = 2**30
# v5e, v6e: what their compiler says; v5p, H100: as sold.
CHIPS: Mapping[str, Chip] = {
    "v5e": Chip("tpu", 15.75 * GIB, "v5e:8x8"),
    "v5p": Chip("tpu", 95e9, "v5p:4x4x4"),
    "v6e": Chip("tpu", 31.25 * GIB, "v6e:8x8"),
    "h100": Chip("cuda", 80e9, "h100:64"),
}
GPUS_OF_A_HOST = 8
# A GpuTargetConfigProto: what the compiler would ask an NVIDIA H100 SXM.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84978434048
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 13 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


def check_topology(name: str) -> None:
    """Raises UserError where the name is not one of a chip and its number: v5e:2x2, h100:8."""
    chip, _, size = name.partition(":")
    choose("chip", chip, CHIPS)
    if chip == "h100":
        right = size.isdecimal() and int(size) > 0 and ROW_MULTIPLE % int(size) == 0
        form = f"a number that divides {ROW_MULTIPLE}, over which tables are split evenly"
    else:
        sides = 3 if chip == "v5p" else 2
        right = re.fullmatch("x".join([r"[1-9]\d*"] * sides), size)
        form = f"{sides} sides, such as {CHIPS[chip].example}"
    if not right:
        raise UserError(f"topology {name!r}: expected, after {chip}:, {form}")


def described_devices(name: str) -> Sequence[jax.Device]:
    """The devices of a topology; the process needs `environment(name)`.

    Raises:
      UserError: the chip is not made in that size.
    """
    chip, _, size = name.partition(":")
    if chip == "h100":
        hosts, gpus = divmod(int(size), GPUS_OF_A_HOST)
        shape = f"1x{hosts}x{GPUS_OF_A_HOST}" if hosts else f"1x1x{gpus}"
        described = topologies.get_topology_desc(
            platform="cuda", topology=shape, target_config=H100
        )
        return described.devices
    one = {"chips_per_host_bounds": [1, 1, 1]} if size == "1x1" else {}
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=name, **one).devices
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"topology {name!r}: {str(error).splitlines()[0]}") from None


def environment(name: str) -> dict[str, str]:
    """Variables that must be set before JAX is imported, for a process that compiles for it."""
    always = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    if name.startswith("h100"):
        return always | {
            "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",  # it would ask the driver
            "XLA_FLAGS": "--xla_gpu_autotune_level=0",  # kernels are tuned on a GPU alone
        }
    return always | {
        "XLA_FLAGS": "",
        "TPU_SKIP_MDS_QUERY": "1",  # no server is asked which machine this is
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # any
        "TPU_WORKER_ID": "0",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # else a second process stops at a lock
    }
