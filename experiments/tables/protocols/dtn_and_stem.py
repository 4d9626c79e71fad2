"""Why STEM leads DTN on the synthetic funnel: each of their differences alone, then together.

    python -m experiments.paper_tables --dataset=dtn_and_stem --table=overall

Of 200,000 rows. STEM has other experts, tables of embeddings for each task, no gradient into other
tasks' experts and no TSN. DTN with all of that, `dtn_as_stem_but_gates`, differs from STEM with
DTN's experts by its gates alone: STEM has one for all experts, which reads own and shared
embeddings, where DTN has two, which read its own.
"""

import dataclasses

from ..protocol import FUNNEL_RIVALS, entry
from .synthetic import PROTOCOL as SYNTHETIC

DTN = entry("dtn", "gdcn+masknet+mlp")
OWN = {"model.dtn.own_embeddings": True}
NONE = {"model.dtn.others_gradient": "none"}
NO_TSN = {"model.dtn.tsn": False}

PROTOCOL = dataclasses.replace(
    SYNTHETIC,
    entries={
        "dtn": DTN,
        "stem": FUNNEL_RIVALS["stem"],
        "stem_with_dtn_experts": {**DTN, "model.architecture": "stem"},
        "dtn_own_embeddings": DTN | OWN,
        "dtn_no_gradient_to_others": DTN | NONE,
        "dtn_without_tsn": DTN | NO_TSN,
        "dtn_own_embeddings_no_gradient": DTN | OWN | NONE,
        "dtn_as_stem_but_gates": DTN | OWN | NONE | NO_TSN,
    },
    again=(),
    sensitivity={},
    trials=6,
    finalists=2,
    finalist_seeds=2,
    seeds=3,
)
