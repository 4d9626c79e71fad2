"""Which model first, on the synthetic funnel: see _first.py."""

from ._first import core, of_first

PROTOCOL = of_first(
    "configs/synthetic.py",
    "gdcn+masknet+mlp",
    core(
        {"shared_bottom": 4, "mmoe": 4, "dtn": 1},
        {"shared_bottom": (152, 35), "mmoe": (187, 47), "dtn": (174, 43)},
    ),
)
