"""Where the examples of the pages lie; no test is in here."""

import pathlib

from dtn_jax.config import plugins

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "docs/examples"
KINDS = {
    "my_model": ("ARCHITECTURES", "soft_mmoe"),
    "my_expert": ("EXPERTS", "pnn"),
    "my_data": ("DATASETS", "visits"),
    "my_metric": ("METRICS", "captured"),
    "my_loss": ("LOSSES", "smoothed"),
    "my_balancer": ("BALANCERS", "equal_lengths"),
}


def load(*names: str):
    """Loads examples as plug-ins; what the last one defines."""
    plugins.load(",".join(str(FOLDER / f"{name}.py") for name in names))
    kind, name = KINDS[names[-1]]
    return plugins.KINDS[kind].known[name]
