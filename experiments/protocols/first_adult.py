"""Which model first, on UCI Adult: see _first.py."""

from ._first import core, further, of_first

PROTOCOL = of_first(
    "configs/adult.py",
    "masknet+dcnv2+mlp",
    core(
        {"shared_bottom": 3, "mmoe": 3, "dtn": 1},
        {"shared_bottom": (228, 60), "mmoe": (248, 67), "dtn": (237, 63)},
    ),
    further(3, 237),
)
