"""Compiles a training step for accelerators that are not there, and prints what it takes as JSON.

    python tests/nightly/compile_cell.py v5p:4x4x4,dtn,rows=1e9,adagrad

in a clone, after `make compiled`. A cell is a topology (v5e:2x2, v6e:8x8, v5p:4x4x4, h100:64 and
others), and then an architecture (one of MODELS), or `released`, DTN at its authors' sizes;
`score` instead of a chunk of training steps; an optimizer of tables (adam, adagrad, sgd);
bfloat16 tables; rows=1e7 of all tables, E=64 and each=1024 examples a device, those being the
defaults. 23 fields, two tasks. Nothing is allocated: state and batches are shapes with shardings.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import subprocess
import sys
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VENV = pathlib.Path(os.environ.get("COMPILED_VENV") or ROOT / ".venv-compiled")
MB = 1e6
MODELS = {
    "shared_bottom": {"model.architecture": "shared_bottom", "model.experts": "mlp"},
    "dtn": {"model.architecture": "dtn", "model.experts": "gdcn+masknet"},
    "rankmixer": {"model.architecture": "rankmixer"},
    "infnet": {"model.architecture": "infnet"},
}
WORDS = {  # what a word of a cell changes
    **{name: {"optim.tables": name} for name in ("adam", "adagrad", "sgd")},
    "bfloat16": {"optim.table_dtype": "bfloat16"},
}
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


def compiled(cell: str) -> dict[str, Any]:
    """What the compiler makes of a cell, in a process of its own: variables that are set before JAX
    is imported decide for which accelerator. Raises RuntimeError with what it said."""
    always = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false", "XLA_FLAGS": ""}
    if cell.startswith("h100"):
        always["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # it would ask the driver
        always["XLA_FLAGS"] = "--xla_gpu_autotune_level=0"  # kernels are tuned on a GPU alone
    else:
        always |= {
            "TPU_SKIP_MDS_QUERY": "1",  # no server is asked which machine this is
            "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # any
            "TPU_WORKER_ID": "0",
            "TPU_WORKER_HOSTNAMES": "localhost",
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # else a second process stops at a lock
        }
    always["PYTHONPATH"] = str(ROOT)
    words = [str(VENV / "bin/python"), __file__, "--here", cell]
    done = subprocess.run(words, env=os.environ | always, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{cell}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def read_cell(cell: str) -> tuple[Any, Any, bool]:
    """The config of a cell, whose batch is that of a device, its schema, and whether it scores."""
    from dtn_jax.config import base_config
    from dtn_jax.schema import Field, Schema, Task
    from experiments.benchmarks.step import FIELDS, released_config

    _, model, *words = cell.split(",")
    sizes = {"rows": 10**7, "E": 64, "each": 1024}
    config = base_config()
    if model == "released":
        config = released_config("gdcn+masknet+hcnet", "float32", False)
    else:
        config.update_from_flattened_dict(MODELS[model])
    for word in words:
        key, given, value = word.partition("=")
        if given:
            sizes[key] = int(float(value))
        elif word != "score":
            config.update_from_flattened_dict(WORDS[word])
    config.model.embedding_dim, config.data.batch_size = sizes["E"], sizes["each"]
    fields = tuple(Field(f"f{i}", rows=sizes["rows"] // FIELDS) for i in range(FIELDS))
    tasks = (Task("click"), Task("order", upstream=("click",)))
    return config, Schema("compiled", fields, tasks), "score" in words


def compile_here(cell: str) -> dict[str, Any]:
    """As `compiled`, in this process."""
    import hlo
    import jax
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh

    from dtn_jax.losses import read_losses
    from dtn_jax.parallel.mesh import Placement
    from dtn_jax.plan import DEVICES, chunk_shapes, make_program
    from dtn_jax.run.step import make_score_step
    from dtn_jax.tables import routes
    from dtn_jax.tables.routed import AXES
    from dtn_jax.tables.stored_rows import SHORT

    chip, _, size = cell.partition(",")[0].partition(":")
    if chip == "h100":
        hosts, gpus = divmod(int(size), 8)
        shape = f"1x{hosts}x8" if hosts else f"1x1x{gpus}"
        how = {"platform": "cuda", "topology": shape, "target_config": H100}
    else:
        how = {"platform": "tpu", "topology_name": f"{chip}:{size}"}
    described = topologies.get_topology_desc(**how)
    n, (config, schema, scores) = len(described.devices), read_cell(cell)
    each = config.data.batch_size
    config.data.batch_size = config.data.eval_batch_size = n * each
    grid = np.asarray(described.devices).reshape(1, n)
    program = make_program(config, schema, Placement(Mesh(grid, AXES)))
    tables, at, places = program.tables, program.at, program.at.state_places(program.state)
    if scores:
        batch = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype, sharding=at.batch()),
            chunk_shapes(schema, n * each),
        )
        losses = read_losses(config.loss, schema)
        step = make_score_step(program.model, tables, losses, at.table_mesh)
        made = jax.jit(step, out_shardings=at.replicated()).lower(places, batch).compile()
    else:
        made = program.compile()
    memory, read = made.memory_analysis(), hlo.read_program(made.as_text())
    # A table of few rows for each id of a step may be passed over, but not copied.
    ids = {name: count * each for name, count in tables.ids_of_example.items()}
    long, short, shapes, logical = set(), set(), set(), 0.0
    for name, lie in tables.arrays.items():
        owners = 1 if name in tables.everywhere else n
        few = tables.used[name] / owners <= SHORT * n * ids[name]
        leaves = [*jax.tree.leaves(places.tables[name]), *jax.tree.leaves(places.slots[name])]
        parts = [leaf.sharding.shard_shape(leaf.shape) for leaf in leaves if leaf.ndim]
        (short if few else long).update(math.prod(part) for part in parts)
        shapes.update(parts)
        kept = leaves[:1] if scores else leaves
        of_row = sum(
            leaf.dtype.itemsize * (1 if leaf.shape == lie.by_row else lie.width)
            for leaf in kept
            if leaf.ndim
        )
        logical += of_row * tables.used[name] / owners
    found = hlo.collectives(read)
    loop = 0 if scores else 1
    first = [c for c in found if c.depth == loop]
    every = [p.operation for p in read.walk()]
    given = [o for o in read.computations[read.entry].values() if o.code == "parameter"]
    stored = sum(a.padded_bytes for o in given for a in o.arrays if a.dims in shapes)
    scatters = [o for o in every if o.code == "scatter"]
    whole = hlo.whole_tables(read, long | short, chip != "h100")
    passes = hlo.whole_tables(read, long, chip != "h100")
    received = [
        n * routes.room(lie, ids[name], n, tables.platform)
        for name, lie in tables.arrays.items()
        if name not in tables.everywhere
    ]
    return {
        "devices": n,
        "peak MB": memory.peak_memory_in_bytes / MB,
        "of its memory": memory.peak_memory_in_bytes / DEVICES[chip].memory,
        "held MB": memory.argument_size_in_bytes / MB,
        "new outputs MB": (memory.output_size_in_bytes - memory.alias_size_in_bytes) / MB,
        "stored over logical": stored / logical,
        "copies": [w for w in whole if w.startswith("copy")],
        "passes": [w for w in passes if w.startswith("pass")],
        "carried MB": sum(c.bytes for c in first) / MB,
        "sent MB": sum((1 + (c.kind == "all-reduce")) * c.bytes for c in first) * (n - 1) / n / MB,
        "padded MB": sum(c.padded for c in first) / MB,
        "largest MB": max((c.padded for c in found if c.depth >= loop), default=0) / MB,
        "batch's rows MB": sum(4 * n * ids[m] * lie.width for m, lie in tables.arrays.items()) / MB,
        "longest sort": max((a.size for o in every if o.sorts for a in o.arrays), default=0),
        "received": max([*received, *ids.values()]),
        "repeated scatters": sum("unique_indices=true" not in o.rest for o in scatters),
        "f64": sum(a.dtype == "f64" for o in every for a in o.arrays),
        "host calls": sum(o.calls_host for o in every),
    }


if __name__ == "__main__":
    if sys.argv[1] == "--here":
        print(json.dumps(compile_here(sys.argv[2])))
    else:
        print(json.dumps(compiled(sys.argv[1]), indent=1))
