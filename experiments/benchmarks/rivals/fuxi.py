"""FuxiCTR: its feature embedding, MLP blocks, data loader and training loop.

Its package holds no MMoE (that lies in its repository's model zoo), so the routing is made here
from its parts: experts and towers are its MLP_Block, the gates linear blocks of the same kind.
"""

from __future__ import annotations

import importlib.metadata
import pathlib
import sys

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import MultiTaskModel
from torch import nn

from experiments.benchmarks.rivals import session


class MMoE(MultiTaskModel):
    def __init__(self, job, features: FeatureMap):
        super().__init__(
            features,
            task=["binary_classification"] * job.tasks,
            num_tasks=job.tasks,
            verbose=0,
            model_root=".",
            metrics=["AUC"],
        )
        width = job.embedding_dim * len(job.field_rows)
        self.embedding = FeatureEmbedding(features, job.embedding_dim)
        self.experts = nn.ModuleList(
            MLP_Block(width, [*job.hidden, job.expert_dim]) for _ in range(job.experts)
        )
        self.gates = nn.ModuleList(
            MLP_Block(width, output_dim=job.experts, output_activation="softmax", use_bias=False)
            for _ in range(job.tasks)
        )
        self.towers = nn.ModuleList(
            MLP_Block(job.expert_dim, list(job.tower_hidden), output_dim=1)
            for _ in range(job.tasks)
        )
        self.compile("adam", "binary_crossentropy", job.learning_rate)
        self.reset_parameters()

    def forward(self, inputs):
        x = self.embedding(self.get_inputs(inputs), flatten_emb=True)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=1)
        predicted = {}
        for task, name in enumerate(self.feature_map.labels):
            z = (self.gates[task](x).unsqueeze(-1) * outputs).sum(dim=1)
            predicted[f"{name}_pred"] = self.output_activation[task](self.towers[task](z))
        return predicted

    total, steps = 0.0, 0  # training losses, which the library's loop forgets

    def train_step(self, batch):
        loss = super().train_step(batch)
        self.total, self.steps = self.total + loss.detach(), self.steps + 1
        return loss


def main() -> None:
    folder = sys.argv[1]
    job, arrays = session.read(folder)
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)

    features = FeatureMap("benchmark", folder)
    features.labels = [f"label_{t}" for t in range(job.tasks)]
    features.default_emb_dim = job.embedding_dim
    for i, rows in enumerate(job.field_rows):
        features.features[f"f{i}"] = {"type": "categorical", "source": "", "vocab_size": rows}
    features.num_fields = features.get_num_fields()
    features.set_column_index()
    columns = {f"f{i}": column for i, column in enumerate(arrays["ids"].T)}
    columns |= {f"label_{t}": c for t, c in enumerate(arrays["labels"].astype(np.int32).T)}
    path = pathlib.Path(folder) / "fuxictr.npz"
    np.savez(path, **columns)
    loader, _ = RankDataLoader(
        features,
        stage="train",
        train_data=str(path),
        batch_size=job.batch_size,
        shuffle=True,
        num_workers=0,
    )
    model = MMoE(job, features)
    # What `fit` sets, with the validation after an epoch put off for ever.
    model._max_gradient_norm, model._eval_steps = 10.0, sys.maxsize
    model._total_steps, model._stop_training = 0, False

    def train() -> float:
        model.total, model.steps = 0.0, 0
        model.train_epoch(loader)
        return float(model.total) / model.steps

    about = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "version": f"FuxiCTR {importlib.metadata.version('fuxictr')}",
    }
    session.serve(about, train)


if __name__ == "__main__":
    main()
