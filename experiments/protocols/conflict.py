"""Do the seven labels of KDD Census-Income conflict, and for what?

Single-task models are what all others are tested against: a shared bottom of equal width, and one
with as many parameters, tables included, in embeddings seven times as wide; stem and dtn give each
task embeddings of its own. All experts are MLPs.
"""

from dtn_jax.papertables.protocol import Protocol, entry

PROTOCOL = Protocol(
    config="configs/census_income.py:tasks=seven",
    entries={
        "single_task": entry("single_task", "mlp"),
        "shared_bottom": entry("shared_bottom", "mlp"),
        "shared_bottom, as large": entry("shared_bottom", "mlp")
        | {"model.embedding_dim": 56, "model.mlp.hidden": (367,)},
        "stem": entry("stem", "mlp"),
        "dtn, own embeddings": entry("dtn", "mlp") | {"model.dtn.own_embeddings": True},
    },
    ours="single_task",
    delta_m="single_task",
    trials=3,
    finalists=1,
    seeds=5,
    note="The labels are of adults, and were chosen because they disagree.",
)
