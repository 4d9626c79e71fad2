"""The synthetic funnel: click, cart, order, with a known best."""

from ..protocol import FUNNEL_RIVALS, SETTLED, Protocol, entry

PROTOCOL = Protocol(
    config="configs/synthetic.py",
    entries={"dtn": entry("dtn", "gdcn+masknet+mlp")} | FUNNEL_RIVALS,
    trials=6,
    finalist_seeds=2,
    again=("dtn", "esmm"),  # the rival with the highest validation AUC
    width="model.mlp.hidden",
    sensitivity={
        "model.embedding_dim": (4, 8, 16),
        "model.experts": ("gdcn+masknet+mlp", "gdcn*2+masknet*2+mlp*2"),
        "model.gdcn.layers": (1, 2, 3),
        "model.hcnet.codebook_rows": (1_000, 10_000, 100_000),
    },
    note=SETTLED,
)
