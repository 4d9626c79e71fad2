"""Which model first, on KuaiRand's subset: see _first.py."""

from ._first import core, of_first

PROTOCOL = of_first(
    "configs/kuairand.py",
    "masknet+dcnv2+mlp",
    core(
        {"shared_bottom": 3, "mmoe": 7, "dtn": 1},
        {"shared_bottom": (176, 63), "mmoe": (121, 38), "dtn": (96, 27)},
    ),
    tested=("click", "long_view"),
)
