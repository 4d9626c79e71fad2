from dtn_jax.papertables.protocol import RIVALS, Protocol, entry

PROTOCOL = Protocol(
    config="configs/logs.py:schema=shop.yaml,plugins=my_model.py",
    entries={
        "dtn": entry("dtn", "gdcn+masknet"),
        "mine": entry("soft_mmoe", "mlp*4"),
        "mmoe": RIVALS["mmoe"],
    },
)
