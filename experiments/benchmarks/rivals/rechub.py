"""torch-rechub: its MMOE and PLE, its DataGenerator and its MTLTrainer, as its examples use them.

Its MLPs, gates included, hold batch normalisation after every layer, which can't be switched off;
`--plain` takes it out, so that the model has the arithmetic of the others.
"""

from __future__ import annotations

import importlib.metadata
import sys

import numpy as np
import torch
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.multi_task import MMOE, PLE
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator

from experiments.benchmarks.rivals import session


def main() -> None:
    job, arrays = session.read(sys.argv[-1])
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)

    model = build(job)
    if "--plain" in sys.argv:
        without_normalisation(model)
    trainer = MTLTrainer(
        model,
        task_types=["classification"] * job.tasks,
        optimizer_params={"lr": job.learning_rate},
    )
    ids = arrays["ids"].astype(np.int64)  # what a look-up wants, so that it converts nothing
    columns = {f"f{i}": ids[:, i] for i in range(ids.shape[1])}
    labels = arrays["labels"]
    loader, _, _ = DataGenerator(columns, labels).generate_dataloader(
        x_val={k: v[:1] for k, v in columns.items()},
        y_val=labels[:1],
        x_test={k: v[:1] for k, v in columns.items()},
        y_test=labels[:1],
        batch_size=job.batch_size,
    )
    about = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "version": f"torch-rechub {importlib.metadata.version('torch-rechub')}",
    }
    session.serve(about, lambda: float(sum(trainer.train_one_epoch(loader))))


def build(job) -> torch.nn.Module:
    features = [
        SparseFeature(f"f{i}", vocab_size=rows, embed_dim=job.embedding_dim)
        for i, rows in enumerate(job.field_rows)
    ]
    types = ["classification"] * job.tasks
    experts = {"dims": [*job.hidden, job.expert_dim], "activation": "relu"}
    towers = [{"dims": list(job.tower_hidden)} for _ in types]
    if job.architecture == "mmoe":
        return MMOE(features, types, job.experts, experts, towers)
    return PLE(features, types, job.levels, job.experts, job.experts, experts, towers)


def without_normalisation(module: torch.nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm1d):
            setattr(module, name, torch.nn.Identity())
        else:
            without_normalisation(child)


if __name__ == "__main__":
    main()
