"""Balancing: how much each task pulls in a step. One balancer a file, a line in BALANCERS.

A balancer is a frozen dataclass on `Balancer`; its fields are its options (`loss.<name>.<field>`).
It acts in two places, and takes either or both. With L_t the mean loss of task t over the whole
batch, times its `loss.task_weights`:

1. On losses. A step descends  Σ_t w_t L_t + penalty(learned)  with w = weights(learned, losses,
   state, key, tasks), through which no gradient flows to the model. `learned` are numbers of the
   balancer's own, such as a log variance a task, dense parameters like a model's: one optimizer,
   rate, clipping and checkpoint. `learned` moves by the gradient at the losses of the whole batch,
   once. The weights see the losses with `reads_losses`; where a batch is taken in parts
   (`train.accumulate`), these cost one more forward pass.
2. On gradients, with `reads_gradients`. Of the T gradients g_t of w_t L_t with respect to the rows
   that the batch looks up in the view `shared`, as many as the batch has, it sees the Gram matrix
   g_t · g_s over the whole batch, and answers with coefficients c_t: those rows get Σ_t c_t g_t.
   Published methods (PCGrad, MGDA, CAGrad, GradVac, Nash-MTL) need no more. With the scope
   "shared", g_t has the dense parameters too of which several tasks have a gradient in the batch.
   All other parameters, codebooks and the views of single tasks keep the plain sum.

After both, `update(state, seen)` says what it keeps for the next step: part of the run's state and
of its checkpoints, moved by no optimizer, and as it was where a step is skipped.

A task without a row in the batch has the weight 0, and zeros in the Gram matrix. Auxiliary losses
are nobody's: their gradient is added as it is. The whole batch is all parts on all devices, so that
a balancer gives the same numbers however a batch is split. The second place costs a backward pass
to the embeddings a task (to all parameters with the scope "shared"), and the memory of T gradients
of the rows, also where a batch is taken in parts: the matrix is known after the last.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from dtn_jax.balancing.aligned_mtl import AlignedMTL
from dtn_jax.balancing.balancer import Balancer
from dtn_jax.balancing.cagrad import CAGrad
from dtn_jax.balancing.dwa import DWA
from dtn_jax.balancing.fairgrad import FairGrad
from dtn_jax.balancing.gls import GLS
from dtn_jax.balancing.gradnorm import GradNorm
from dtn_jax.balancing.gradvac import GradVac
from dtn_jax.balancing.imtl_g import IMTLG
from dtn_jax.balancing.mgda import MGDA
from dtn_jax.balancing.nash_mtl import NashMTL
from dtn_jax.balancing.pcgrad import PCGrad
from dtn_jax.balancing.rlw import RLW
from dtn_jax.balancing.static import Static
from dtn_jax.balancing.stch import STCH
from dtn_jax.balancing.uncertainty import Uncertainty
from dtn_jax.balancing.upgrad import UPGrad
from dtn_jax.errors import UserError, choose
from dtn_jax.options import made

BALANCERS = {
    "static": Static,
    "uncertainty": Uncertainty,
    "dwa": DWA,
    "rlw": RLW,
    "gls": GLS,
    "stch": STCH,
    "gradnorm": GradNorm,
    "pcgrad": PCGrad,
    "gradvac": GradVac,
    "mgda": MGDA,
    "cagrad": CAGrad,
    "nash_mtl": NashMTL,
    "aligned_mtl": AlignedMTL,
    "imtl_g": IMTLG,
    "fairgrad": FairGrad,
    "upgrad": UPGrad,
}
NONE = "none"


def read_balancer(loss: ConfigDict, views: tuple[str, ...], shared: str) -> Balancer | None:
    """The balancer that the section `loss` of a config names.

    Args:
      loss: the section.
      views: of the model's embeddings.
      shared: the view of all tasks.

    Raises:
      UserError: an unknown one, a bad option of it, or one that needs embeddings of all tasks
        where there are none.
    """
    name = choose("loss.balancing", loss.balancing, (NONE, *BALANCERS))
    if name == NONE:
        return None
    balancer = made(BALANCERS[name], loss.get(name, {}), f"loss.{name}")
    if balancer.reads_gradients and shared not in views:
        raise UserError(
            f"loss.balancing={name} reads the tasks' gradients at the embeddings that all tasks "
            "share, and this architecture shares none"
        )
    return balancer
