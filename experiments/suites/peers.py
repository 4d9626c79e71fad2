"""Training speed beside other frameworks: the same model, rows and batches, on this CPU.

MMoE and PLE on census_income, epoch after epoch, each framework by its own loop: ours as
`dtn_jax.train` has it (data on the device, chunks of steps, losses fetched a chunk late),
torch-rechub and FuxiCTR by their trainers, and a loop in plain PyTorch that was tuned for this
model (experiments/peers). Then MMoE again with 2 million table rows, where a dense gradient costs.

Peers run as processes of a virtual environment of their own, on as many threads as there are
cores, and take turns with ours: one trains, the others wait.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from configs import census_income
from dtn_jax.errors import UserError
from dtn_jax.input.pipeline import CHUNK_STEPS, ResidentData, SplitReader, steps_per_epoch
from dtn_jax.interface import Batch
from dtn_jax.models import build as architectures
from dtn_jax.run import Run, build_run
from dtn_jax.schema import Schema
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step
from dtn_jax.tables import huge_pages
from dtn_jax.tables.embedding import make_plan

from .measured import Cell, Goal, Measured, Options, ratio, timed_in_turns

ROOT = pathlib.Path(__file__).parents[2]
OURS, PRODUCT = "dtn_jax", "matrix product"
LIMIT = 900  # seconds: a peer that takes longer to answer is given up
PRODUCT_SIZE = 2048  # of the square matrices whose product gives the machine's rate


@dataclasses.dataclass(frozen=True)
class Rival:
    """Another framework's training.

    Attributes:
      command: what its Python is given, before the folder of job and arrays.
      package: what it needs, a name in the extra `peers`.
      goal: how many times as fast ours is wanted to be; rivals of one package share a goal, which
        is held against the fastest of them.
    """

    command: tuple[str, ...]
    package: str
    goal: float


def module(name: str, *arguments: str) -> tuple[str, ...]:
    return ("-m", f"experiments.peers.{name}", *arguments)


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


def widen(schema: Schema, batch: Batch, table_rows: int) -> tuple[Schema, Batch]:
    """Spreads each id over as many new ones as make all tables `table_rows` long; 0 leaves them.

    Which of an id's new ones a row has is drawn: the k-th in proportion to 1/k, as logs have it.
    """
    if not table_rows:
        return schema, batch
    tables = schema.tables()
    factor = {name: max(1, table_rows // len(tables) // rows) for name, rows in tables.items()}
    factors = np.asarray([factor[f.table] for f in schema.slot_fields()])
    drawn = np.random.default_rng(0).random(batch.ids.shape)
    new = batch.ids * factors + np.floor(factors**drawn).astype(np.int32) - 1
    ids = np.where(batch.ids < 0, -1, new).astype(np.int32)
    fields = tuple(dataclasses.replace(f, rows=f.rows * factor[f.table]) for f in schema.fields)
    return dataclasses.replace(schema, fields=fields), dataclasses.replace(batch, ids=ids)


def with_schema(run: Run, schema: Schema) -> Run:
    """The run with the tables of another schema."""
    model = run.config.model
    views = architectures.views(model.architecture, schema)
    return dataclasses.replace(
        run,
        schema=schema,
        model=architectures.build(model, schema),
        plan=make_plan(schema, model, views, architectures.codebooks(model, schema)),
    )


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


def cores() -> int:
    """How many cores this process may use, as XLA counts them."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count()


class Ours:
    """Trains as `dtn_jax.train.fit` does between two validations."""

    def __init__(self, run: Run, batch: Batch):
        self.run, self.epoch, self.loss = run, 0, math.nan
        self.rows = ResidentData(run.data, "train", run.at.replicated())
        self.rows.batch, self.rows.rows = run.at.put(batch, run.at.replicated()), len(batch.ids)
        config = run.config
        self.steps = steps_per_epoch(run.data.layout, self.rows.rows, config.data.batch_size)
        step = make_train_step(config, run.model, run.plan, run.total_steps, run.at.table_mesh)
        create = functools.partial(create_state, config, run.model, run.plan)
        sharding = run.at.state(jax.eval_shape(create))
        self.state = jax.jit(create, out_shardings=sharding)()
        huge_pages.use((self.state.tables, self.state.slots))
        self.train_chunk = run.at.compile(make_train_chunk(step, CHUNK_STEPS), self.state)
        tables = sum(run.schema.tables().values()) * run.plan.dim  # without the padding
        self.about = {
            "parameters": run.size.parameters + tables,
            "version": f"jax {jax.__version__}",
        }

    def turn(self) -> float:
        """Trains an epoch, returns its seconds."""
        start = time.perf_counter()
        config, total, pending = self.run.config, 0.0, []
        for first in range(0, self.steps, CHUNK_STEPS):
            count = min(CHUNK_STEPS, self.steps - first)
            chunk = self.rows.chunk(config.seed, self.epoch, first, count, config.data.batch_size)
            chunk = self.run.at.put(chunk, self.run.at.chunk())
            self.state, metrics = self.train_chunk(self.state, chunk, count)
            pending.append((metrics["losses"], count))
            if len(pending) > 1:
                total += fetch(*pending.pop(0))
        self.loss = (total + fetch(*pending.pop())) / self.steps
        self.epoch += 1
        return time.perf_counter() - start


def fetch(losses: jax.Array, count: int) -> float:
    return float(np.asarray(jax.device_get(losses))[:count].sum())


class Peer:
    """A process that trains when its turn comes; once it failed, `reason` says why."""

    def __init__(self, python: str, rival: Rival, folder: str, reason: str):
        self.about, self.loss, self.reason, self.process = {}, math.nan, reason, None
        if reason:
            return
        threads = str(cores())
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, *rival.command, folder],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.about = self._answer()

    def turn(self) -> float:
        """Trains an epoch, returns the seconds it took; not a number where the peer failed."""
        if self.reason:
            return math.nan
        with contextlib.suppress(BrokenPipeError):  # it ended: there is no answer then
            print(file=self.process.stdin, flush=True)
        answer = self._answer()
        self.loss = answer.get("loss", math.nan)
        return answer.get("seconds", math.nan)

    def _answer(self) -> dict:
        timer = threading.Timer(LIMIT, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if line:
            return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().split("\n")
        self.reason = next((s for s in reversed(said) if s.strip()), "it ended without a word")
        return {}

    def close(self) -> None:
        if self.process:
            self.process.communicate()  # no more turns: it ends
            self.errors.close()


_multiply = jax.jit(jnp.matmul)


def product() -> float:
    """Seconds of one large matrix product, the best of a few."""
    x = jnp.ones((PRODUCT_SIZE, PRODUCT_SIZE))

    def once() -> float:
        start = time.perf_counter()
        _multiply(x, x).block_until_ready()
        return time.perf_counter() - start

    return min(once() for _ in range(6))


def install(venv: pathlib.Path) -> tuple[str, dict[str, str]]:
    """The venv's Python, with the packages of the extra `peers`; and why some are not there.

    Each is installed alone, so that one that can't be leaves the others. pip's own settings say
    where from, and so which build of torch.
    """
    python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        problem = failure([sys.executable, "-m", "venv", str(venv)])
        if problem:
            raise UserError(f"no virtual environment for the peers in {venv}: {problem}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    missing = {}
    for requirement in project["optional-dependencies"]["peers"]:
        problem = failure([str(python), "-m", "pip", "install", "--quiet", requirement])
        if problem:
            missing[requirement.partition("=")[0].rstrip("<>~")] = problem
    return str(python), missing


def failure(command: Sequence[str]) -> str:
    """Runs a command; '' where it worked, else the last line of what it said."""
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    said = ended.stderr.strip().split("\n")[-1]
    return (said or f"exit code {ended.returncode}") if ended.returncode else ""
