"""Which model first, on KDD Census-Income's seven labels that disagree: see _first.py."""

from dtn_jax.papertables.protocol import Claim

from ._first import core, further, of_first

PROTOCOL = of_first(
    "configs/census_income.py:tasks=seven",
    "gdcn+masknet",
    core(
        {"shared_bottom": 3, "mmoe": 8, "dtn": 1},
        {"shared_bottom": (206, 63), "mmoe": (111, 27), "dtn": (92, 19)},
    ),
    further(8, 92),
    worse=0.001,
    claims=(
        Claim("c", "dtn, mlp", "mmoe, mlp"),
        Claim("c", "dtn, dcnv2", "mmoe, dcnv2"),
        Claim("c", "dtn, own embeddings", "dtn, mlp"),
        Claim("c", "stem, mlp", "mmoe, mlp"),
        Claim("c", "single_task, mlp", "shared_bottom, mlp"),
    ),
)
