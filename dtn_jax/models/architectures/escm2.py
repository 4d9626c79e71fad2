"""ESCM², "Entire Space Counterfactual Multi-Task Model" (Wang et al. 2022, arXiv 2204.05125).

ESMM with a loss of the conditional task, CVR, that is unbiased although only clicked rows have its
label. With o whether upstream task u happened, p its probability, e the conditional tower's
cross-entropy, n the batch's rows with o = 1 and B its rows, the loss has besides

    ips   w e,                 w = o B min(1 / max(p n, 1e-6), 15)
    dr    i + w (e - i) + w (e - i)^2,   w = o min(1 / max(p, 1e-6), 15),   i the imputed loss

averaged over the batch and times `weight`; no gradient passes through w. Equations as in
PaddlePaddle/PaddleRec, `models/multitask/escm2`, where i is the sigmoid of a third tower; the
paper clips p at 0.1. The losses of CTR and CTCVR are the tasks' own, with their weights.

With the right p, `ips` is unbiased. `dr` is not, since its square trains the conditional tower as
well as i: where i is right the square is the variance of e, q (1 - q) z^2 for a tower's logit z and
a true probability q, which is least at z = 0. So estimates are drawn to 1/2: of q = 0.2 alone, the
loss is least at 0.37. CTCVR draws them back.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.lax import stop_gradient

from dtn_jax.interface import Label
from dtn_jax.models.architectures.esmm import ESMM
from dtn_jax.models.auxiliary import label_loss
from dtn_jax.options import option
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float

KINDS = ("ips", "dr")
SMALLEST, LARGEST = 1e-6, 15.0  # of a propensity, and of what is divided by it


class ESCM2(ESMM):
    """As ESMM, with the counterfactual losses in `aux`."""

    kind: str = option("dr", "inverse propensities, or doubly robust", choices=KINDS)
    weight: float = option(0.5, "of the counterfactual loss of a conditional task", least=0)

    def losses(self, task, z, logit, upstream, inputs, train):
        imputed = None
        if self.kind == "dr":
            imputed = nn.sigmoid(self.tower(name=f"imputation_{task.name}")(z, train))
        if not (inputs.labels and self.weight):
            return {}
        labels = inputs.labels[task.name], inputs.labels[task.upstream[0]]
        p = stop_gradient(nn.sigmoid(upstream))
        loss = counterfactual(logit, p, *labels, task, imputed)
        return {f"{self.kind}_{task.name}": self.weight * loss}


def counterfactual(
    logit: Float[Array, " B"],
    p: Float[Array, " B"],
    label: Label,
    upstream: Label,
    task: Task,
    imputed: Float[Array, " B"] | None,
) -> Float[Array, " B"]:
    """Of each row, the IPS loss; with an imputed loss the doubly robust one."""
    o = jnp.where(upstream.known & label.known, upstream.values, 0)
    e = label_loss(logit, label, task)
    if imputed is None:
        weighted = jnp.maximum(p * upstream.positives, SMALLEST)
        return o * upstream.rows * jnp.minimum(1 / weighted, LARGEST) * e
    w = o * jnp.minimum(1 / jnp.maximum(p, SMALLEST), LARGEST)
    return imputed + w * (e - imputed) + w * (e - imputed) ** 2
