"""MMoE in plain PyTorch, as fast on a CPU as it could be made: the limit of that side.

All rows lie in memory as tensors. The fields' tables are one. The first layers of all experts and
all gates are one product, the later layers of experts and towers one batched product each. Adam is
the fused one. `--compile` has torch.compile make the dense part. `--tables` says how the table
learns: `dense`, by the same Adam, all rows; `lazy`, by the same rule written out here, on the rows
of the batch.

Letters: B batch, F fields, D embedding width, W = F*D, M experts, K their hidden width, H their
output width, T tasks, L the towers' hidden width.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.rivals import session

B1, B2, EPS = 0.9, 0.999, 1e-8  # torch's defaults, and ours


class MMoE(nn.Module):
    def __init__(self, job):
        super().__init__()
        width, (k,), (tower,) = (
            job.embedding_dim * len(job.field_rows),
            job.hidden,
            job.tower_hidden,
        )
        m, h, t = job.experts, job.expert_dim, job.tasks
        self.sizes = m, k, t
        self.first = _weight(width, m * k + t * m)  # experts, then gates
        self.first_bias = nn.Parameter(torch.zeros(m * k))
        self.second = _weight(m, k, h)
        self.second_bias = nn.Parameter(torch.zeros(m, 1, h))
        self.tower = _weight(t, h, tower)
        self.tower_bias = nn.Parameter(torch.zeros(t, 1, tower))
        self.logit = _weight(t, tower, 1)
        self.logit_bias = nn.Parameter(torch.zeros(t, 1, 1))

    def forward(self, rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss `[]`, a sum over tasks; rows are `[B, F, D]`, labels `[T, B]`."""
        m, k, t = self.sizes
        b = rows.shape[0]
        both = rows.reshape(b, -1) @ self.first
        hidden = F.relu(both[:, : m * k] + self.first_bias).view(b, m, k).transpose(0, 1)
        f = F.relu(torch.baddbmm(self.second_bias, hidden, self.second))  # [M, B, H]
        gates = both[:, m * k :].view(b, t, m).softmax(-1)
        z = torch.stack([(gates[:, i].T.unsqueeze(-1) * f).sum(0) for i in range(t)])  # [T, B, H]
        tower = F.relu(torch.baddbmm(self.tower_bias, z, self.tower))
        logits = torch.baddbmm(self.logit_bias, tower, self.logit).squeeze(-1)
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / b


def _weight(*shape: int) -> nn.Parameter:
    bound = (6 / (shape[-2] + shape[-1])) ** 0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class LazyAdam:
    """Adam whose moments and counts advance for a row only when a batch holds it."""

    def __init__(self, table: torch.Tensor, rate: float):
        self.table, self.rate = table, rate
        self.m, self.v = torch.zeros_like(table), torch.zeros_like(table)
        self.count = torch.zeros(len(table), 1)

    @torch.no_grad()
    def step(self, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        rows, place = torch.unique(ids, return_inverse=True)
        g = torch.zeros(len(rows), gradient.shape[-1]).index_add_(0, place, gradient)
        count = self.count[rows] + 1
        m = torch.lerp(self.m[rows], g, 1 - B1)
        v = torch.lerp(self.v[rows], g * g, 1 - B2)
        root = (v / (1 - B2**count)).sqrt_().add_(EPS)
        delta = (m / (1 - B1**count)).div_(root).mul_(-self.rate)
        self.table.index_add_(0, rows, delta)
        self.m.index_copy_(0, rows, m)
        self.v.index_copy_(0, rows, v)
        self.count.index_copy_(0, rows, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--tables", choices=("dense", "lazy"), default="dense")
    parser.add_argument("--compile", action="store_true")
    known = parser.parse_args()
    job, arrays = session.read(known.folder)
    torch.set_num_threads(job.threads)
    torch.set_flush_denormal(True)  # as XLA does
    torch.manual_seed(job.seed)

    firsts = torch.tensor([0, *job.field_rows[:-1]]).cumsum(0)
    ids = torch.from_numpy(arrays["ids"]) + firsts.to(torch.int32)
    labels = torch.from_numpy(arrays["labels"]).float()
    table = nn.Parameter(0.01 * torch.randn(sum(job.field_rows), job.embedding_dim))
    model = MMoE(job)
    loss_of = torch.compile(model) if known.compile else model
    dense = [*model.parameters(), *([table] if known.tables == "dense" else [])]
    optimizer = torch.optim.Adam(dense, job.learning_rate, fused=True)
    lazy = LazyAdam(table.data, job.learning_rate) if known.tables == "lazy" else None

    def step(batch_ids: torch.Tensor, batch_labels: torch.Tensor) -> torch.Tensor:
        rows = F.embedding(batch_ids, table.data if lazy else table)
        rows = rows.requires_grad_() if lazy else rows
        loss = loss_of(rows, batch_labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if lazy:
            lazy.step(batch_ids.flatten().long(), rows.grad.flatten(0, 1))
        return loss.detach()

    def train() -> float:
        total = torch.zeros(())
        batches = torch.randperm(len(ids)).split(job.batch_size)
        for batch in batches:
            total += step(ids[batch], labels[batch].T.contiguous())
        return float(total) / len(batches)

    about = {
        "parameters": table.numel() + sum(p.numel() for p in model.parameters()),
        "version": f"PyTorch {torch.__version__}",
    }
    session.serve(about, train)


if __name__ == "__main__":
    main()
