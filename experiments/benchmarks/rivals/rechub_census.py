"""torch-rechub's own experiment on Census-Income: its models, its trainer, its preparation.

Its published AUCs come from `examples/ranking/run_census.py` on files that `preprocess_census.py`
wrote. This script does the same from UCI's files with the installed package: train on all of UCI's
train rows; validation and test are halves of UCI's test rows, stratified by income; ids are numbers
of sorted values; seven numbers are scaled to [0, 1] and rounded to four digits; Adam with its
arguments, at most 100 epochs, patience 30 on the validation AUC of income.

    .venv-peers/bin/python -m experiments.benchmarks.rivals.rechub_census FOLDER MODEL SEED OUT

FOLDER holds UCI's `train.parquet` and `test.parquet`. OUT gets a line of JSON: the AUCs of the
state that validation picked, and those of every epoch, which only show whether any comes near.
"""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import sys
import tempfile

import numpy as np
import polars as pl
import torch
from sklearn.model_selection import train_test_split
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import AITM, MMOE, PLE, SharedBottom
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator

NUMBERS = ["age", "wage_per_hour", "capital_gains", "capital_losses", "stock_dividends"]
NUMBERS += ["num_emp", "weeks_worked"]
LABELS = {"income_50k": "50000+.", "marital_stat": "Never married"}
TOWERS = [{"dims": [8]}, {"dims": [8]}]
TYPES = ["classification", "classification"]
MODELS = {  # with the arguments of run_census.py
    "SharedBottom": lambda f: SharedBottom(f, TYPES, {"dims": [117]}, TOWERS),
    "MMOE": lambda f: MMOE(f, TYPES, 8, {"dims": [16]}, TOWERS),
    "PLE": lambda f: PLE(f, TYPES, 1, 2, 1, {"dims": [16]}, TOWERS),
    "AITM": lambda f: AITM(f, 2, {"dims": [32, 16]}, TOWERS),
}


class Trainer(MTLTrainer):
    """Theirs, which also keeps the AUCs of each epoch on the test rows."""

    def evaluate(self, model, loader):
        scores = super().evaluate(model, loader)
        self.kept.append([float(s) for s in (*scores, *super().evaluate(model, self.test))])
        return scores


def main(folder: str, name: str, seed: str, out: str) -> None:
    torch.manual_seed(int(seed))
    features, splits = read(pathlib.Path(folder), int(seed))
    train, (x, y), (x_test, y_test) = splits
    others = {"x_val": x, "y_val": y, "x_test": x_test, "y_test": y_test}
    loaders = DataGenerator(*train).generate_dataloader(**others, batch_size=1024)
    with tempfile.TemporaryDirectory() as place:
        how = {"n_epoch": 100, "earlystop_patience": 30, "model_path": place}
        how["optimizer_params"] = {"lr": 1e-3, "weight_decay": 1e-4}
        trainer = Trainer(MODELS[name](features), TYPES, **how)
        trainer.kept, trainer.test = [], loaders[2]
        trainer.fit(loaders[0], loaders[1])
        last = trainer.evaluate(trainer.model, loaders[2])
    line = {
        "model": name,
        "seed": int(seed),
        "version": importlib.metadata.version("torch-rechub"),
        "auc": [float(s) for s in last],
        "epochs": trainer.kept[:-1],  # AUCs of validation, then of test
    }
    with pathlib.Path(out).open("a") as file:
        file.write(json.dumps(line) + "\n")


def read(folder: pathlib.Path, seed: int):
    """Features, and the columns and labels of train, validation and test."""
    frames = [pl.read_parquet(folder / f"{split}.parquet") for split in ("train", "test")]
    rows = len(frames[0])
    frame = pl.concat(frames).drop("instance_weight")
    labels = np.stack([(frame[c] == v).to_numpy() for c, v in LABELS.items()], 1).astype(int)
    columns, features = {}, []
    for name in frame.drop(*LABELS).columns:
        if name in NUMBERS:
            values = frame[name].cast(pl.Float64).to_numpy()
            low, high = values.min(), values.max()
            columns[name] = ((values - low) / (high - low)).round(4)
        else:
            _, columns[name] = np.unique(
                frame[name].cast(pl.String).to_numpy(), return_inverse=True
            )
            features.append(SparseFeature(name, int(columns[name].max()) + 1, embed_dim=4))
    features += [DenseFeature(name) for name in NUMBERS]
    test = np.arange(rows, len(frame))
    halves = train_test_split(test, test_size=0.5, stratify=labels[test, 0], random_state=seed)
    parts = (np.arange(rows), *halves)
    return features, [({n: v[part] for n, v in columns.items()}, labels[part]) for part in parts]


if __name__ == "__main__":
    main(*sys.argv[1:])
