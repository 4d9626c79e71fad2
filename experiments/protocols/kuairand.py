"""KuaiRand, click to long view, and the rarer tasks."""

from dtn_jax.papertables.protocol import FUNNEL_RIVALS, PAPERS_OWN, SETTLED, Protocol, entry

PROTOCOL = Protocol(
    config="configs/kuairand.py",
    entries={"dtn": entry("dtn", "masknet+dcnv2+mlp")} | PAPERS_OWN | FUNNEL_RIVALS,
    trials=6,
    finalist_seeds=2,
    again=("dtn", "single_task"),  # the rival with the highest validation AUC
    seeds=5,
    sensitivity={
        "model.embedding_dim": (4, 8, 16),
        "model.experts": ("masknet+dcnv2+mlp", "masknet*2+dcnv2*2+mlp*2"),
        "model.dcnv2.layers": (1, 2, 3),
        "model.hcnet.codebook_rows": (1_000, 10_000, 100_000),
    },
    tested=("click", "long_view"),
    note=SETTLED + " Trials and states are chosen by the mean of click and long_view. One long "
    "view in a hundred has no click, so that p(long_view | click) is not quite the quotient.",
)
