"""Training beside other frameworks: the same model, rows and batches, on this CPU, over seeds.

MMoE and PLE on census_income, epoch after epoch, each framework by its own loop: ours as
`dtn_jax.run.train` has it (data on the device, chunks of steps, losses fetched a chunk late),
torch-rechub and FuxiCTR by their trainers, and a loop in plain PyTorch that was tuned for this
model (experiments/benchmarks/rivals). Then MMoE again with 2 million table rows, where a dense
gradient costs. How the tables learn, and the loss that each reaches, stand beside its speed.

Peers run as processes of a virtual environment of their own, on as many threads as there are
cores, and take turns with ours: one trains, the others wait.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import census_income
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.models import build as architectures
from dtn_jax.run.run import Run, build_run
from dtn_jax.schema import Schema
from dtn_jax.tables.plan import make_plan
from experiments.benchmarks.measured import Cell, Goal, Measured, Options, ratio, timed_in_turns
from experiments.benchmarks.pipeline import Trainer

ROOT = pathlib.Path(__file__).parents[2]
OURS, TUNED = "dtn_jax", "tuned PyTorch"
LAZY, DENSE = "lazy Adam", "Adam on all rows"  # how tables learn
LIMIT = 900  # seconds: a peer that takes longer to answer is given up
SEEDS = 3
CORES = len(os.sched_getaffinity(0))  # that this process may use, as XLA counts them


@dataclasses.dataclass(frozen=True)
class Rival:
    """Another framework's training.

    Attributes:
      module: its script in experiments/benchmarks/rivals.
      package: what it is made of.
      goal: how many times as fast ours is wanted to be; rivals of one package share a goal, which
        is held against the fastest of them.
      words: that the script is given, before the folder of job and arrays.
      tables: how its tables learn.
    """

    module: str
    package: str
    goal: float
    words: tuple[str, ...] = ()
    tables: str = DENSE


RECHUB = {
    "torch-rechub": Rival("rechub", "torch-rechub", 3.0),
    "torch-rechub, no batch normalisation": Rival("rechub", "torch-rechub", 3.0, ("--plain",)),
}
FUXI = {"FuxiCTR": Rival("fuxi", "fuxictr", 2.5)}
SHORT = {
    TUNED: Rival("tuned", "torch", 1.0),
    f"{TUNED}, compiled": Rival("tuned", "torch", 1.0, ("--compile",)),
}
LONG = {
    f"{TUNED}, {DENSE}": Rival("tuned", "torch", 1.0),
    f"{TUNED}, {LAZY}": Rival("tuned", "torch", 1.0, ("--tables=lazy",), LAZY),
    f"{TUNED}, {LAZY}, compiled": Rival(
        "tuned", "torch", 1.0, ("--tables=lazy", "--compile"), LAZY
    ),
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is trained.

    Attributes:
      architecture: as in configs/base.py.
      experts: MLPs of a group.
      table_rows: how many rows all tables have together; 0 leaves them as the data set has them.
      rows: examples of a turn; 0 takes the whole train split.
      rounds: turns of each, after one that is not counted, with each seed.
    """

    architecture: str
    experts: int
    rivals: Mapping[str, Rival]
    table_rows: int = 0
    rows: int = 0
    rounds: int = 2


SETTINGS = (
    Setting("mmoe", 8, SHORT | FUXI | RECHUB),
    Setting("ple", 2, RECHUB, rows=65_536),
    Setting("mmoe", 8, LONG | FUXI | RECHUB, table_rows=2_000_000, rows=32_768),
)
NOTES = [
    f"times: median over paired turns of their time over ours, of {SEEDS} seeds.",
    "loss: mean of the last turn, summed over tasks; mean and standard deviation of the seeds. "
    "Each framework draws its own initial weights and orders.",
]


def measure(options: Options) -> Measured:
    if jax.default_backend() != "cpu":
        raise UserError("the suite peers compares on the CPU: run it with JAX_PLATFORMS=cpu")
    python = pathlib.Path(options.peers_venv or ROOT / ".venv-peers") / "bin" / "python"
    if not python.exists():
        raise UserError(f"the suite peers needs {python}: run make peers, or give --peers_venv")
    rows, goals = [], []
    for setting in SETTINGS:
        if options.quick:
            table_rows = min(setting.table_rows, 20_000)
            setting = dataclasses.replace(setting, rows=4096, rounds=1, table_rows=table_rows)
        lines, wanted = compare(setting, str(python), options)
        rows, goals = [*rows, *lines], [*goals, *wanted]
    title = f"Training epochs on census_income, batch 1024, CPU, {SEEDS} seeds"
    return Measured(title, rows, goals, NOTES)


def compare(
    setting: Setting, python: str, options: Options
) -> tuple[list[Mapping[str, Cell]], list[Goal]]:
    """The rows of the table that a setting gives, and its goals."""
    names = [OURS, *setting.rivals]
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in names}
    losses: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(SEEDS):
        run = build_run(make_config(setting, seed, options))
        everything = SplitReader(run.data, "train").everything()
        batch = jax.tree.map(lambda a: a[: setting.rows or None], everything)
        run, batch = widened(run, batch, setting.table_rows)
        racers: dict[str, Ours | Peer] = {OURS: Ours(run, batch)}
        with tempfile.TemporaryDirectory() as folder:
            write_job(pathlib.Path(folder), setting, run, batch)
            for name, other in setting.rivals.items():
                racers[name] = Peer(python, other, folder)
            turns = {name: racer.turn for name, racer in racers.items()}
            took = timed_in_turns(turns, setting.rounds + 1)
            for name in setting.rivals:
                racers[name].close()
        for name in names:
            seconds[name].append(took[name][1:])  # the first turn warms up
            losses[name].append(racers[name].loss)
    whole = {name: np.concatenate(parts) for name, parts in seconds.items()}
    table_rows = sum(run.schema.tables().values())
    rows, goals = [], {}
    for name in names:
        other, about = setting.rivals.get(name), racers[name].about
        speed = len(batch.ids) / float(np.median(whole[name]))
        times, ran = ratio(whole[name], whole[OURS]), math.isfinite(speed)
        figures = {
            "examples/s": speed,
            "times": times,
            "loss": float(np.mean(losses[name])),
            "sd": float(np.std(losses[name], ddof=1)),
        }
        rows.append(
            {
                "model": setting.architecture,
                "table rows": table_rows,
                "framework": name,
                "tables": other.tables if other else LAZY,
                **{key: figure if ran else None for key, figure in figures.items()},
                "parameters": about.get("parameters"),
                "version": about["version"] if ran else f"failed: {racers[name].reason}",
            }
        )
        if ran and other:
            what = f"{setting.architecture}, {table_rows:,} table rows: speed over {name}"
            goal = Goal(what, other.goal, times)
            goals[other.package] = min(goals.get(other.package, goal), goal, key=lambda g: g.got)
    return rows, list(goals.values())


def make_config(setting: Setting, seed: int, options: Options) -> ConfigDict:
    """Usual sizes: embeddings of 16, experts 64-32, towers of 16, Adam."""
    config = census_income.get_config()
    config.seed = seed
    config.data.data_dir, config.data.manual_dir = options.data_dir, options.manual_dir
    config.data.batch_size, config.optim.schedule, config.train.epochs = 1024, "constant", 2
    config.model.architecture = setting.architecture
    config.model.experts = f"mlp*{setting.experts}"
    config.model.embedding_dim, config.model.expert_dim = 16, 32
    config.model.mlp.hidden, config.model.tower_hidden = (64,), (16,)
    config.parallel.devices = 1
    return config


def widened(run: Run, batch: Batch, table_rows: int) -> tuple[Run, Batch]:
    """The run and its rows with more table rows than the data set has."""
    schema, batch = widen(run.schema, batch, table_rows)
    model = run.config.model
    views = architectures.views(model, schema)
    plan = make_plan(schema, model, views, architectures.codebooks(model, schema))
    built = architectures.build(model, schema)
    return dataclasses.replace(run, schema=schema, model=built, plan=plan), batch


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


def write_job(folder: pathlib.Path, setting: Setting, run: Run, batch: Batch) -> None:
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
        "threads": CORES,
        "seed": run.config.seed,
    }
    (folder / "job.json").write_text(json.dumps(job))
    np.savez(folder / "arrays.npz", ids=batch.ids, labels=batch.labels)


class Ours:
    """This project's training of these rows, which lie on the device."""

    def __init__(self, run: Run, batch: Batch):
        rows = ResidentData(run.data, "train", run.at.replicated())
        rows.batch, rows.rows = run.at.put(batch, run.at.replicated()), len(batch.ids)
        self.trainer, self.loss = Trainer(run, rows, len(batch.ids)), math.nan
        tables = sum(run.schema.tables().values()) * run.plan.dim  # without the padding
        parameters = run.size.parameters + tables
        self.about = {"parameters": parameters, "version": f"jax {jax.__version__}"}

    def turn(self) -> float:
        """Trains an epoch, returns its seconds."""
        start = time.perf_counter()
        self.loss = self.trainer.epoch()
        return time.perf_counter() - start


class Peer:
    """A process that trains when its turn comes; once it failed, `reason` says why."""

    def __init__(self, python: str, rival: Rival, folder: str):
        self.loss, self.reason = math.nan, ""
        threads = str(CORES)
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, "-m", f"experiments.benchmarks.rivals.{rival.module}", *rival.words, folder],
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
        self.process.communicate()  # no more turns: it ends
        self.errors.close()
