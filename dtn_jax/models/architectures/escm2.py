"""ESCM², "Entire Space Counterfactual Multi-Task Model" (Wang et al. 2022, arXiv 2204.05125).

ESMM with a loss of the conditional task, CVR, that is unbiased although only clicked rows have its
label. With o whether upstream task u happened, p its probability, e the conditional tower's
cross-entropy, n the batch's rows with o = 1 and B its rows, the loss has besides

    ips   w e,                 w = o B min(1 / max(p n, 1e-6), 15)
    dr    i + w (e - i) + w (e - i)^2,   w = o min(1 / max(p, 1e-6), 15),   i the imputed loss

averaged over the batch and times `weight`; no gradient passes through w. Equations as in
PaddlePaddle/PaddleRec, `models/multitask/escm2`, where i is the sigmoid of a third tower. The
losses of CTR and CTCVR are the tasks' own, with their weights.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn
from jax.lax import stop_gradient

from dtn_jax.interface import SHARED, Inputs, Label, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged
from dtn_jax.models.architectures.esmm import both, check_funnel
from dtn_jax.models.auxiliary import label_loss
from dtn_jax.options import option
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float

KINDS = ("ips", "dr")
SMALLEST, LARGEST = 1e-6, 15.0  # of a propensity, and of what is divided by it


class ESCM2(Architecture):
    """Groups: the tasks. Intermediates: `conditional`, the towers' own logits."""

    kind: str = option("dr", "inverse propensities, or doubly robust", choices=KINDS)
    weight: float = option(0.5, "of the counterfactual loss of a conditional task", least=0)

    @classmethod
    def layout(cls, schema, own):
        return (schema.task_names,)

    @classmethod
    def check(cls, schema, own):
        check_funnel(schema, "escm2")

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, on all rows; `aux` has the counterfactual losses."""
        fields = self.input(name="input")(inputs.fields[SHARED], inputs.row_mask, train)
        outputs = self.experts(fields, inputs.codewords, train)
        logits, conditional, aux = {}, {}, {}
        for task in self.tasks:
            z = jnp.concatenate(list(outputs[task.name].values()), axis=-1)
            logit = self.tower(name=f"tower_{task.name}")(z, train)
            conditional[task.name] = logits[task.name] = logit
            for upstream in task.upstream:  # one at most
                logits[task.name] = both(logits[upstream], logit)
                imputed = None
                if self.kind == "dr":
                    imputed = nn.sigmoid(self.tower(name=f"imputation_{task.name}")(z, train))
                if inputs.labels and self.weight:
                    labels = inputs.labels[task.name], inputs.labels[upstream]
                    p = stop_gradient(nn.sigmoid(logits[upstream]))
                    loss = counterfactual(logit, p, *labels, task, imputed)
                    aux[f"{self.kind}_{task.name}"] = self.weight * loss
        intermediates = {"conditional": conditional, "experts": merged(outputs)}
        return Outputs(logits=logits, aux=aux, intermediates=intermediates)


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
