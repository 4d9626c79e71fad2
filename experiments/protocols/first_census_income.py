"""Which model first, on KDD Census-Income's two labels: see _first.py."""

from ._first import core, of_first

PROTOCOL = of_first(
    "configs/census_income.py",
    "masknet+dcnv2+mlp",
    core(
        {"shared_bottom": 3, "mmoe": 3, "dtn": 1},
        {"shared_bottom": (155, 31), "mmoe": (168, 35), "dtn": (161, 32)},
    ),
    worse=0.001,
)
