from dtn_jax.papertables.protocol import RIVALS, Protocol, entry

PROTOCOL = Protocol(
    config="configs/adult.py:plugins=my_model.py",  # `common`, `trials`, `seeds`, ... have defaults
    entries={
        "dtn": entry("dtn", "gdcn+mlp"),
        "mine": entry("soft_mmoe", "mlp*4"),
        "mmoe": RIVALS["mmoe"],
    },
)
