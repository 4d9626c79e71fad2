"""Training speed beside other frameworks: the same model, rows and batches, on this CPU.

MMoE and PLE on census_income, epoch after epoch, each framework by its own loop: ours as
`dtn_jax.train` has it (data on the device, chunks of steps, losses fetched a chunk late),
torch-rechub and FuxiCTR by their trainers, and a loop in plain PyTorch that was tuned for this
model (experiments/benchmarks/rivals). Then MMoE again with 2 million table rows, where a dense
gradient costs.

Peers run as processes of a virtual environment of their own, on as many threads as there are
cores, and take turns with ours: one trains, the others wait.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import tempfile
import time
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from configs import census_income
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.run import Run, build_run
from experiments.benchmarks.measured import Cell, Goal, Measured, Options, ratio, timed_in_turns
from experiments.benchmarks.peer_install import install
from experiments.benchmarks.racers import ROOT, Ours, Peer, Rival, cores
from experiments.benchmarks.widened import widen, with_schema

OURS, PRODUCT = "dtn_jax", "matrix product"
PRODUCT_SIZE = 2048  # of the square matrices whose product gives the machine's rate


def module(name: str, *arguments: str) -> tuple[str, ...]:
    return ("-m", f"experiments.benchmarks.rivals.{name}", *arguments)


RECHUB = {
    "torch-rechub": Rival(module("rechub"), "torch-rechub", 3.0),
    "torch-rechub, no batch normalisation": Rival(module("rechub", "--plain"), "torch-rechub", 3.0),
}
FUXI = {"FuxiCTR": Rival(module("fuxi", "--workers=0"), "fuxictr", 2.5)}
TUNED = {
    "tuned PyTorch": Rival(module("tuned"), "torch", 1.0),
    "tuned PyTorch, compiled": Rival(module("tuned", "--compile"), "torch", 1.0),
}
TUNED_LONG = {
    f"tuned PyTorch, {how}": Rival(module("tuned", *arguments), "torch", 1.0)
    for how, arguments in {
        "dense Adam": ("--tables=dense",),
        "SparseAdam": ("--tables=sparse",),
        "lazy Adam": ("--tables=lazy",),
        "lazy Adam, compiled": ("--tables=lazy", "--compile"),
    }.items()
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is trained.

    Attributes:
      architecture: as in configs/base.py.
      experts: MLPs of a group.
      table_rows: how many rows all tables have together; 0 leaves them as the data set has them.
      rows: examples of a turn; 0 takes the whole train split.
      rounds: turns of each, after one that is not counted.
    """

    architecture: str
    experts: int
    rivals: Mapping[str, Rival]
    table_rows: int = 0
    rows: int = 0
    rounds: int = 3


SETTINGS = (
    Setting("mmoe", 8, RECHUB | FUXI | TUNED),
    Setting("ple", 2, RECHUB, rows=65_536),
    Setting("mmoe", 8, RECHUB | FUXI | TUNED_LONG, table_rows=2_000_000, rows=32_768),
)


def measure(options: Options) -> Measured:
    if jax.default_backend() != "cpu":
        raise UserError("the suite peers compares on the CPU: run it with JAX_PLATFORMS=cpu")
    python, missing = install(pathlib.Path(options.peers_venv or ROOT / ".venv-peers"))
    rows, goals = [], []
    for setting in SETTINGS:
        if options.quick:
            table_rows = min(setting.table_rows, 20_000)
            setting = dataclasses.replace(setting, rows=4096, rounds=1, table_rows=table_rows)
        found, wanted = compare(setting, python, missing, options)
        rows, goals = [*rows, *found], [*goals, *wanted]
    notes = [
        "times: median over paired turns of their time over ours.",
        "of the product: 3 x the forward matrix products' FLOP/s, over the rate of a product of "
        f"two {PRODUCT_SIZE} x {PRODUCT_SIZE} float32 matrices, taken in the same turns.",
        "loss: mean of the last turn, summed over tasks.",
    ]
    return Measured("Training epochs on census_income, batch 1024, CPU", rows, goals, notes)


def make_config(setting: Setting, options: Options) -> ConfigDict:
    """Usual sizes: embeddings of 16, experts 64-32, towers of 16, Adam."""
    config = census_income.get_config()
    config.data.data_dir, config.data.manual_dir = options.data_dir, options.manual_dir
    config.data.batch_size, config.optim.schedule, config.train.epochs = 1024, "constant", 2
    config.model.architecture = setting.architecture
    config.model.experts = f"mlp*{setting.experts}"
    config.model.embedding_dim, config.model.expert_dim = 16, 32
    config.model.mlp.hidden, config.model.tower_hidden = (64,), (16,)
    config.parallel.devices = 1
    return config


def compare(
    setting: Setting, python: str, missing: Mapping[str, str], options: Options
) -> tuple[list[Mapping[str, Cell]], list[Goal]]:
    """The rows of the table that a setting gives, and its goals."""
    run = build_run(make_config(setting, options))
    schema, batch = widen(run.schema, examples(run, setting.rows), setting.table_rows)
    run = with_schema(run, schema)
    ours = Ours(run, batch)
    racers: dict[str, Ours | Peer] = {OURS: ours}
    with tempfile.TemporaryDirectory() as folder:
        export(pathlib.Path(folder), setting, run, batch)
        for name, rival in setting.rivals.items():
            racers[name] = Peer(python, rival, folder, missing.get(rival.package, ""))
        turns = {name: racer.turn for name, racer in racers.items()}
        seconds = timed_in_turns(turns | {PRODUCT: product}, setting.rounds + 1)
        for name in setting.rivals:
            racers[name].close()
    seconds = {name: s[1:] for name, s in seconds.items()}  # the first turn warms up
    rate = 2 * PRODUCT_SIZE**3 / float(np.median(seconds[PRODUCT]))
    examples_ = len(batch.ids)
    rows, goals = [], {}
    for name, racer in racers.items():
        speed = examples_ / float(np.median(seconds[name]))
        times = ratio(seconds[name], seconds[OURS])
        ran = math.isfinite(speed)
        rows.append(
            {
                "model": setting.architecture,
                "table rows": sum(schema.tables().values()),
                "framework": name,
                "examples/s": speed if ran else None,
                "times": times if ran else None,
                "of the product": 3 * run.size.flops_per_example * speed / rate if ran else None,
                "parameters": racer.about.get("parameters"),
                "loss": racer.loss if ran else None,
                "version": racer.about["version"] if ran else f"failed: {racer.reason}",
            }
        )
        if ran and name != OURS:
            rival = setting.rivals[name]
            what = (
                f"{setting.architecture}, {rows[0]['table rows']:,} table rows: speed over {name}"
            )
            goal = Goal(what, rival.goal, times)
            goals[rival.package] = min(goals.get(rival.package, goal), goal, key=lambda g: g.got)
    return rows, list(goals.values())


def examples(run: Run, rows: int) -> Batch:
    """The first `rows` rows of the train split; 0 takes all."""
    everything = SplitReader(run.data, "train").everything()
    return jax.tree.map(lambda a: a[: rows or None], everything)


def export(folder: pathlib.Path, setting: Setting, run: Run, batch: Batch) -> None:
    """Writes what the peers read: the job and the arrays."""
    model = run.config.model
    job = {
        "architecture": model.architecture,
        "experts": setting.experts,
        "levels": model.ple.levels,
        "embedding_dim": model.embedding_dim,
        "hidden": model.mlp.hidden,
        "expert_dim": model.expert_dim,
        "tower_hidden": model.tower_hidden,
        "tasks": len(run.schema.tasks),
        "field_rows": [f.rows for f in run.schema.slot_fields()],
        "batch_size": run.config.data.batch_size,
        "learning_rate": run.config.optim.learning_rate,
        "threads": cores(),
    }
    (folder / "job.json").write_text(json.dumps(job))
    np.savez(folder / "arrays.npz", ids=batch.ids, labels=batch.labels)


_multiply = jax.jit(jnp.matmul)


def product() -> float:
    """Seconds of one large matrix product, the best of a few."""
    x = jnp.ones((PRODUCT_SIZE, PRODUCT_SIZE))

    def once() -> float:
        start = time.perf_counter()
        _multiply(x, x).block_until_ready()
        return time.perf_counter() - start

    return min(once() for _ in range(6))
