"""Ali-CCP, click to conversion, all entries on equal terms."""

from dtn_jax.papertables.protocol import FUNNEL_RIVALS, Protocol, entry

PROTOCOL = Protocol(
    config="configs/ali_ccp.py",
    common={
        "data.batch_size": 4096,
        "train.epochs": 1,
        "optim.schedule": "cosine",
        "model.mlp.hidden": (256,),
        "model.masknet.mask_hidden": 128,
        "model.masknet.block_dim": 64,
        "model.dcnv2.rank": 32,
    },
    entries={"dtn": entry("dtn", "masknet+dcnv2+mlp")} | FUNNEL_RIVALS,
    trials=9,
    seeds=3,
    sensitivity={
        "model.embedding_dim": (8, 16, 32),
        "model.experts": ("masknet+dcnv2+mlp", "masknet*2+dcnv2*2+mlp*2"),
        "model.dcnv2.layers": (1, 2, 3),
    },
    note="All entries have one embedding width, one kind of table optimizer, one batch and one "
    "epoch; positives have no weights in the loss. Sizes are those of census_income: none was "
    "settled on these data. Bags keep their first 20 values.",
)
