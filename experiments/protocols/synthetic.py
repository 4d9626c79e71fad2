"""The synthetic funnel: click, cart, order, with a known best."""

from dtn_jax.papertables.protocol import FUNNEL_RIVALS, PAPERS_OWN_NARROW, SETTLED, Protocol, entry

PROTOCOL = Protocol(
    config="configs/synthetic.py",
    entries={"dtn": entry("dtn", "gdcn+masknet+mlp")} | PAPERS_OWN_NARROW | FUNNEL_RIVALS,
    trials=6,
    finalist_seeds=2,
    transfer=True,
    given={  # the setting that eleven of the twelve entries of `divergence` ended with
        "divergence": {
            "model.dropout": "0.319",
            "model.embedding_dropout": "0.0689",
            "optim.learning_rate": "0.00984",
            "optim.table_init": "0.275",
            "optim.table_l2": "0.00101",
            "optim.table_learning_rate": "0.00658",
        }
    },
    sensitivity={
        "model.embedding_dim": (4, 8, 16),
        "model.experts": ("gdcn+masknet+mlp", "gdcn*2+masknet*2+mlp*2"),
        "model.gdcn.layers": (1, 2, 3),
        "model.hcnet.codebook_rows": (1_000, 10_000, 100_000),
    },
    note=SETTLED,
)
