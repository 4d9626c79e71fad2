"""The protocol of a config that has none: DTN against the usual rivals, for your own logs."""

from __future__ import annotations

from dtn_jax.config import load_config
from dtn_jax.papertables.protocol import RIVALS, Protocol, entry
from dtn_jax.papertables.protocol_files import check

OURS = "dtn"


def default_protocol(spec: str) -> Protocol:
    """DTN with the config's experts, and the rivals as their papers have them.

    Args:
      spec: of a config, such as 'configs/logs.py:schema=shop.yaml'.

    Raises:
      UserError: the config is wrong.
    """
    experts = load_config(spec).model.experts
    made = Protocol(
        config=spec,
        entries={OURS: entry(OURS, experts)} | RIVALS,
        sensitivity={
            "model.embedding_dim": (4, 8, 16, 32),
            "model.experts": tuple(dict.fromkeys((experts, "masknet+dcnv2+mlp", "mlp*3"))),
            "model.dcnv2.layers": (1, 2, 3),
        },
        note="The protocol is the default one: no setting was chosen for these data beforehand.",
    )
    check(made)
    return made
