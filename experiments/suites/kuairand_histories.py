"""What histories bring on KuaiRand: each user's earlier clicks and long views, made from the log.

The same model without histories and with each way of pooling has as many trials on validation,
drawn from one space, and then SEEDS runs with its best settings, which read test once. Rows, days
of the splits and the other fields are those of the data set kuairand with its default options, but
for weekdays, in UTC.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Mapping

import numpy as np
import optuna
import polars as pl
import scipy.stats

from configs import logs, space
from dtn_jax.config import override
from dtn_jax.datasets.kuairand.builder import DAYS
from dtn_jax.datasets.kuairand.files import locate
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.errors import UserError
from dtn_jax.models.histories import HISTORIES
from dtn_jax.replicas import train_replicas

from .histories import MEAN
from .measured import Cell, Measured, Options

WITHOUT = "no history"
TRIALS, SEEDS, EPOCHS = 12, 5, 3
TASKS = ("click", "long_view")
SCHEMA = """
name: {name}
fields:
  user: {{column: user_id, min_count: 2}}
  video: {{column: video_id, min_count: 2}}
  hour: {{value: hourmin // 100}}
  weekday: {{value: weekday(time_ms)}}
  duration: {{column: duration_ms, kind: numeric}}
{histories}
tasks:
  click: {{label: is_click}}
  long_view: {{label: long_view, upstream: [click], positives_outside: 1}}
group: user_id
time: {{column: time_ms, unit: ms}}
split: {{by: column, column: date, values: {days}}}
"""
OWN = """
  clicked: {history: {of: video, where: is_click == 1, last: 50}}
  viewed: {history: {of: video, where: long_view == 1, last: 50}}
"""


def measure(options: Options) -> Measured:
    files = raw_files(options.manual_dir)
    rows: list[dict[str, Cell]] = []
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        for name, histories in (("plain", ""), ("own", OWN)):
            schema = home / f"{name}.yaml"
            text = SCHEMA.format(name=name, histories=histories, days=split_days(files))
            schema.write_text(text)
            prepare(schema, files, home / "data", processes=1, max_reject_rate=0.01)
        runs = {way: tested(home, way, options.quick) for way in (WITHOUT, MEAN, *HISTORIES)}
    for way, (found, settings) in runs.items():
        rows.append({"pooling": way} | figures(found, runs[WITHOUT][0]) | settings)
    notes = [
        f"Each row: {TRIALS} trials on validation, the same draws for all, by the mean GAUC of "
        f"{' and '.join(TASKS)}; then {SEEDS} seeds not used for tuning, mean ± standard "
        "deviation. Difference: less no history, with the 95 % interval of Welch's t over seeds; "
        "it covers neither tuning nor the draw of test rows. shared_bottom."
    ]
    return Measured(f"KuaiRand's two test days, {SEEDS} seeds", rows, notes=notes)


def config_of(home: pathlib.Path, way: str, settings: Mapping[str, float], quick: bool):
    schema = home / f"{'plain' if way == WITHOUT else 'own'}.yaml"
    config = logs.get_config(f"shared_bottom,schema={schema}")
    config.data.data_dir = str(home / "data")
    config.data.batch_size = 256
    config.train.epochs, config.train.patience = EPOCHS, 0
    config.model.experts, config.model.mlp.hidden = "mlp", (128,)
    config.model.histories = way if way in HISTORIES else ""
    config.optim.schedule = "cosine"
    config.train.max_steps = 2 if quick else 0
    for key, value in settings.items():
        override(config, key, str(value))
    return config


def tested(home: pathlib.Path, way: str, quick: bool) -> tuple[list[dict], dict[str, Cell]]:
    """The test metrics of each seed, with the settings that validation chose; and these."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space.sweep(study.ask()) for _ in range(2 if quick else TRIALS)]
    config = config_of(home, way, {}, quick)
    config.replicas = ",".join(
        f"{key}={','.join(str(settings[key]) for settings in drawn)}" for key in drawn[0]
    )
    trials = train_replicas(config, home / way / "trials", test=False)
    found = [np.mean([t["validation"][f"{task}@all"]["gauc"] for task in TASKS]) for t in trials]
    best = drawn[int(np.argmax(found))]
    config = config_of(home, way, best, quick)
    config.replicas = f"seed={','.join(str(1 + n) for n in range(SEEDS))}"
    runs = [made["test"] for made in train_replicas(config, home / way / "runs")]
    return runs, {f"chosen {key.partition('.')[2]}": value for key, value in best.items()}


def figures(runs: list[dict], others: list[dict]) -> dict[str, Cell]:
    """GAUC and AUC of each task, and how much more GAUC than without histories."""
    made: dict[str, Cell] = {}
    for task in TASKS:
        own, plain = (np.array([r[f"{task}@all"]["gauc"] for r in some]) for some in (runs, others))
        aucs = np.array([r[f"{task}@all"]["auc"] for r in runs])
        made |= {
            f"GAUC {task}": f"{own.mean():.4f} ± {own.std(ddof=1):.4f}",
            f"difference {task}": None,
            f"AUC {task}": f"{aucs.mean():.4f} ± {aucs.std(ddof=1):.4f}",
        }
        if runs is not others:
            test = scipy.stats.ttest_ind(own, plain, equal_var=False).confidence_interval()
            difference = own.mean() - plain.mean()
            made[f"difference {task}"] = f"{difference:+.4f} [{test.low:+.4f}, {test.high:+.4f}]"
    return made


def raw_files(manual_dir: str) -> list[str]:
    """KuaiRand's log files; raises UserError where there are none."""
    manual = manual_dir or os.environ.get("DTN_MANUAL_DIR", "")
    if not manual:
        raise UserError("the suite kuairand_histories needs KuaiRand's files: give --manual_dir")
    return [str(path) for path in locate(pathlib.Path(manual) / "kuairand")]


def split_days(files: list[str]) -> str:
    """The first days of each split, as a schema file has them."""
    read = pl.scan_csv if files[0].endswith(".csv") else pl.scan_parquet
    days = read(files).select("date").unique().sort("date").collect()["date"].to_list()
    found, start = {}, 0
    for split, count in DAYS.items():
        found[split] = f"[{', '.join(map(str, days[start : start + count]))}]"
        start += count
    return f"{{{', '.join(f'{split}: {own}' for split, own in found.items())}}}"
