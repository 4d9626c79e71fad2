"""KDD Census-Income, official split."""

from dtn_jax.papertables.protocol import (
    NO_FUNNEL,
    PAPERS_OWN_NARROW,
    RIVALS,
    SETTLED,
    Protocol,
    Published,
    entry,
)

PUBLISHED = (
    Published(
        "PLE (Tang et al. 2020), table 5",
        "as others transcribed it",
        {
            "single_task": {"income": 0.9445, "never_married": 0.9923},
            "mmoe": {"income": 0.9393, "never_married": 0.9928},
            "ple": {"income": 0.9522, "never_married": 0.9945},
        },
    ),
    Published(
        "torch-rechub",
        "README of its ranking examples",
        {
            "shared_bottom": {"income": 0.9560, "never_married": 0.9948},
            "mmoe": {"income": 0.9579, "never_married": 0.9950},
            "ple": {"income": 0.9593, "never_married": 0.9950},
            "aitm": {"income": 0.9595, "never_married": 0.9951},
        },
    ),
)

PROTOCOL = Protocol(
    config="configs/census_income.py",
    entries={"dtn": entry("dtn", "masknet+dcnv2+mlp")} | PAPERS_OWN_NARROW | RIVALS,
    again=("dtn", "aitm"),  # the rival with the highest validation AUC
    seeds=5,
    sensitivity={
        "model.embedding_dim": (4, 8, 16, 32),
        "model.experts": ("masknet+dcnv2+mlp", "masknet*2+dcnv2*2+mlp*2"),
        "model.dcnv2.layers": (1, 2, 3),
    },
    note=SETTLED + NO_FUNNEL,
    published=PUBLISHED,
)
