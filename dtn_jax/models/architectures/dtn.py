"""DTN, "Deep Multiple Task-specific Feature Interactions Network" (arXiv 2408.11611).

Every task owns a group of diverse experts, and so do all tasks together. A task's gates choose,
per example, among its own group (I) and among the others' and the shared group (O, S).

    f~_m = p_u f_m   for m in the group of a direct, binary upstream task u, else f_m
    paper:     z = [ sum_I a_m f_m , sum_{O,S} r_m f~_m ],  a, r = softmax(x W + b)
    released:  z =   sum_I a_m f_m + sum_{O,S} r_m f~_m ,   a, r = softmax(relu(f~_m . v_m + b_m))
    y = tower(z),  p = sigmoid(y), without gradient where it scales

With `own_histories` x is a task's own: in it, histories are pooled for the task, by parameters of
its own. What a task's group and its gates read of the user's past is then chosen as its experts
are, task by task. The shared group reads histories that are pooled for all.

With `own_embeddings` all of x is: the task's group and its gates read x_t, from tables of the
task's own, and the shared group reads x_shared (as in STEM, Su et al. 2024).

`others_gradient` says what the loss of task t moves in the group of another task u, with sg for
"without gradient": `experts` f~_m = sg(p_u) f_m, which is DTN's; `none` f~_m = sg(p_u f_m), STEM's
"all forward, task-specific backward"; `all` f~_m = p_u f_m. Values are the same in all three.

So in `paper` the gates read the flat input x and do not depend on p; in `released`, the
variant of the authors' code, p also moves the scores, and is inflated where positives weigh w in
the loss: p = sigmoid(y + log w).

Letters: B batch, F fields, D embedding width, M experts in a gate, H expert width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax.lax import stop_gradient

from dtn_jax.errors import UserError
from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.architecture import Architecture, merged
from dtn_jax.models.gates import Gate, ScoreGate, mix, tsn
from dtn_jax.models.groups import Named, by_expert
from dtn_jax.models.layers import flat
from dtn_jax.options import option
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float

FUSIONS = ("paper", "released")
REACHED = ("experts", "none", "all")  # by a task's loss in other tasks' groups
Weights = dict[str, dict[str, Float[Array, " B"]]]  # {gate: {expert: its weight}}


class DTN(Architecture):
    """Groups: the tasks and `shared`; either side may be absent, and its half of z with it.

    `published` are the experts of the paper's figure and the sizes of the authors' run on Ali-CCP,
    but for embeddings of 16: those of 64 make a model of 89 MFLOP an example there.

    Attributes:
      inflation: (task, log w) where its positives weigh w in the loss; `released` reads it.
    """

    fusion: str = option(
        "paper",
        "paper: gates read the input; released: the authors' code, where experts' scores are gates",
        choices=FUSIONS,
        key="model.fusion",
    )
    tsn: bool = option(True, "scale an upstream group by the upstream probability")
    shared_group: bool = option(True, "the group owned by all tasks")
    task_groups: bool = option(True, "a group a task")
    own_histories: bool = option(
        False, "a task's group and gates read histories that are pooled for this task alone"
    )
    own_embeddings: bool = option(
        False, "a task's group and gates read embeddings from tables of this task alone"
    )
    others_gradient: str = option(
        "experts",
        "what a task's loss moves in other tasks' groups: experts; none, as STEM; all: TSN's p too",
        choices=REACHED,
    )
    inflation: tuple[tuple[str, float], ...] = ()
    published: ClassVar[Mapping[str, str]] = {
        "model.experts": "gdcn+masknet+hcnet",
        "model.fusion": "paper",
        "model.embedding_dim": "16",
        "model.expert_dim": "256",
        "model.tower_hidden": "(128, 64)",
        "model.masknet.mask_hidden": "256",
        "model.masknet.block_dim": "128",
        "model.masknet.hidden": "(256,)",
        "model.hcnet.codebook_rows": "100000",
        "model.hcnet.shrinking": "none",
    }

    @classmethod
    def layout(cls, schema, own):
        tasks = schema.task_names if own.task_groups else ()
        return (tasks + ((SHARED,) if own.shared_group else ()),)

    @classmethod
    def views(cls, schema, own):
        return cls.layout(schema, own)[0] if own.own_embeddings else (SHARED,)

    @classmethod
    def check(cls, schema, own):
        if not (own.task_groups or own.shared_group):
            raise UserError("model.dtn: task_groups and shared_group are both off: no expert")
        for name in ("own_histories", "own_embeddings"):
            if getattr(own, name) and not own.task_groups:
                raise UserError(f"model.dtn.{name}: they are for task groups, which are off")
        if own.own_histories and own.own_embeddings:
            raise UserError(
                "model.dtn.own_histories: with own_embeddings each task pools its histories "
                "itself; give one of the two"
            )

    @property
    def history_readers(self) -> tuple[str, ...]:
        if not self.own_histories:
            return ()
        groups = {group for group, _ in self.groups}
        return (*(task.name for task in self.tasks), *({SHARED} & groups))

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its mix of its own and the shared experts."""
        read = {reader: self.read(inputs, train, reader) for reader in inputs.fields}
        alone = self.own_histories or self.own_embeddings
        gated = {
            f"gate_{task.name}_{side}": task.name if self.task_groups else SHARED
            for task in self.tasks
            for side in ("own", "others")
        }
        groups, products = self.gated_experts(
            read if alone else read[SHARED], inputs.codewords, train, None, gated
        )
        logits, probabilities, gates, effective = {}, {}, {}, {}
        for task in self.tasks:  # upstream tasks come first
            scales = {u: p for u, p in probabilities.items() if self.tsn and u in task.upstream}
            sides = {
                "own": groups.get(task.name, {}),
                "others": self.others(task.name, groups, scales),
            }
            x = flat(read.get(task.name, read.get(SHARED)))
            z, weights = self.fuse(task, x, sides, products)
            gates |= weights
            if scales.keys() & groups.keys():
                others = f"{task.name}/others"
                effective[others] = {
                    name: w * scales.get(name.partition("/")[0], 1)
                    for name, w in weights[others].items()
                }
            logits[task.name] = self.tower(name=f"tower_{task.name}")(z, train)
            if task.kind == "binary":
                probabilities[task.name] = self.probability(task, logits[task.name])
        intermediates = {
            "gates": gates,
            "effective": effective,
            "experts": merged(groups),
            "probabilities": probabilities,
        }
        return Outputs(logits=logits, intermediates=intermediates)

    def probability(self, task: Task, logit: Float[Array, " B"]) -> Float[Array, " B"]:
        """What TSN scales by: the task's probability or, in `released`, the inflated one of the
        authors' loss, in which positives weigh w: sigmoid(y + log w)."""
        moved = dict(self.inflation).get(task.name, 0.0) if self.fusion == "released" else 0.0
        return nn.sigmoid(logit + moved if moved else logit)

    def others(
        self, task: str, groups: dict[str, Named], scales: dict[str, Float[Array, " B"]]
    ) -> Named:
        """f~ of the other tasks' experts and the shared ones; `scales` has each p_u."""
        seen = {}
        for group, outputs in groups.items():
            if group == task:
                continue
            f = list(outputs.values())
            if group in scales:
                f = tsn(f, scales[group], learns=self.others_gradient == "all")
            if self.others_gradient == "none" and group != SHARED:
                f = stop_gradient(f)
            seen |= zip(outputs, f, strict=True)
        return seen

    def fuse(
        self,
        task: Task,
        x: Float[Array, "B W"],
        sides: dict[str, Named],
        products: dict[str, Float[Array, "B _"]],
    ) -> tuple[Float[Array, "B K"], Weights]:
        """The tower's input z, and the weights of the gates `task/own` and `task/others`."""
        mixed, gates = [], {}
        for side, experts in sides.items():
            if not experts:
                continue
            outputs = list(experts.values())
            name = f"gate_{task.name}_{side}"
            if self.fusion == "paper":
                gate = Gate(len(outputs), use_bias=True, dtype=self.dtype, name=name)
                weights = gate(x, products.get(name))
            else:
                weights = ScoreGate(self.dtype, name=name)(outputs)
            mixed.append(mix(weights, outputs))
            gates[f"{task.name}/{side}"] = by_expert(weights, experts)
        z = jnp.concatenate(mixed, axis=-1) if self.fusion == "paper" else sum(mixed)
        return z, gates
