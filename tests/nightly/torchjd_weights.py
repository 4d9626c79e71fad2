"""What TorchJD makes of gradients, in the peers' environment: reads a JSON list of `[T, N]`, writes
{balancer: the coefficients of each}."""

import json
import sys

import torch
from torchjd import aggregation, scalarization
from torchjd.linalg import QuadprogProjector

torch.set_default_dtype(torch.float64)
REGULAR = 1e-12  # what solvers add to a diagonal


def coefficients(g):
    """{balancer: `[T]`}; those of random orders for two tasks alone, whose order is the same."""
    tasks, gram = len(g), g @ g.T
    exact = QuadprogProjector(norm_eps=0.0, reg_eps=REGULAR)
    found = {
        "mgda": aggregation.MGDAWeighting(epsilon=1e-12, max_iters=10_000)(gram),
        "cagrad": aggregation.CAGradWeighting(c=0.4, norm_eps=0.0)(gram),
        "aligned_mtl": aggregation.AlignedMTLWeighting()(gram),
        "imtl_g": aggregation.IMTLGWeighting()(gram),
        "fairgrad": aggregation.FairGradWeighting(alpha=2.0)(gram),
        "upgrad": aggregation.UPGradWeighting(projector=exact)(gram),
        "nash_mtl": aggregation.NashMTL(n_tasks=tasks, max_norm=0.0).weighting(g),
    }
    if tasks == 2:
        found["pcgrad"] = aggregation.PCGradWeighting()(gram)
        found["gradvac"] = aggregation.GradVacWeighting(eps=0.0)(gram)
    return {name: weights.tolist() for name, weights in found.items()}


def slope(scalarizer, losses):
    """What each loss is multiplied by, where the scalarizer's value is descended."""
    losses = torch.tensor(losses, requires_grad=True)
    scalarizer(losses).backward()
    return losses.grad.tolist()


def averaged(losses):
    """DWA's weights after two periods with these mean losses, the second one's halved for one."""
    dwa = scalarization.DWA(temperature=2.0)
    for period in (losses, [losses[0] / 2, *losses[1:]]):
        dwa(torch.tensor(period))
        dwa.step()
    return slope(dwa, losses)


given = json.load(sys.stdin)
json.dump(
    {
        "coefficients": [coefficients(torch.tensor(g)) for g in given["gradients"]],
        "gls": [slope(scalarization.GeometricMean(), losses) for losses in given["losses"]],
        "dwa": [averaged(losses) for losses in given["losses"]],
    },
    sys.stdout,
)
