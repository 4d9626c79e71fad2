"""UCI Adult: small, for a look at all tables."""

from dtn_jax.papertables.protocol import NO_FUNNEL, PAPERS_OWN, RIVALS, SETTLED, Protocol, entry

PROTOCOL = Protocol(
    config="configs/adult.py",
    entries={"dtn": entry("dtn", "masknet+dcnv2+mlp")} | PAPERS_OWN | RIVALS,
    again=("dtn", "adatt"),  # the rival with the highest validation AUC
    seeds=5,
    sensitivity={
        "model.embedding_dim": (4, 8, 16, 32),
        "model.experts": ("masknet+dcnv2+mlp", "masknet*2+dcnv2*2+mlp*2"),
        "model.dcnv2.layers": (1, 2, 3),
        "model.hcnet.codebook_rows": (1_000, 10_000, 100_000),
    },
    note=SETTLED + NO_FUNNEL,
)
