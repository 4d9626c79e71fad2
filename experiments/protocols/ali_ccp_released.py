"""Ali-CCP with the settings of DTN's released run, unequal as they are; nothing is tuned."""

from dtn_jax.config import flatten, load_config
from dtn_jax.papertables.protocol import Protocol, Settings
from dtn_jax.places import folder

CONFIG = "configs/ali_ccp.py:released"


def released(architecture: str) -> Settings:
    """What the released run of an architecture sets beside what all of them share."""
    here = folder("configs").parent / CONFIG
    shared, own = (flatten(load_config(str(c))) for c in (here, f"{here},{architecture}"))
    return {key: value for key, value in own.items() if value != shared[key]}


WIDE = {"model.embedding_dim": 64}  # as dtn's
PROTOCOL = Protocol(
    config=CONFIG,
    common={"data.options": "min_count=1,max_values=200,pooling=unweighted"},
    entries={
        "dtn": released("dtn"),
        "mmoe": released("mmoe"),
        "ple": released("ple"),
        "mmoe_64": {**released("mmoe"), **WIDE},
        "ple_64": {**released("ple"), **WIDE},
    },
    trials=0,
    seeds=3,
    note="The released run's settings, as far as options express them (configs/ali_ccp.py says "
    "what they do not). They are not equal: dtn has embeddings of 64 numbers and 75 times the "
    "FLOPs of mmoe and ple, which have 16 and mmoe alone dropout; mmoe_64 and ple_64 have 64. "
    "Three seeds instead of one, a validation split that is not test, the best of ten epochs "
    "instead of the last, rows shuffled, bags of at most 200 values, exact AUC instead of that by "
    "200 thresholds.",
)
