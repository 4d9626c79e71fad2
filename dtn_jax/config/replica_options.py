"""What `config.replicas` asks for: the options of each of several runs in one program."""

from __future__ import annotations

from ml_collections import ConfigDict

from dtn_jax.config import override
from dtn_jax.errors import UserError, choose
from dtn_jax.options import lists

MOST = 1000  # replicas
# What may differ between replicas: traced scalars of the state, and the seed.
SCALARS = (
    "seed",
    "optim.learning_rate",
    "optim.weight_decay",
    "optim.table_learning_rate",
    "optim.table_l2",
    "model.dropout",
    "model.embedding_dropout",
    "loss.task_weights",
)


def parse_replicas(config: ConfigDict) -> list[dict[str, str]]:
    """What `config.replicas` sets in each replica, {option: text}.

    Raises:
      UserError: replicas cannot differ in an option, or the lists have different lengths.
    """
    text = config.replicas.strip()
    if text.isdecimal() and int(text) > MOST:
        raise UserError(f"replicas={text}: expected at most {MOST:,}, since they are one program")
    if text.isdecimal() and int(text) > 0:
        return [{"seed": str(config.seed + i)} for i in range(int(text))]
    values = lists(text, f"replicas={text!r}", "a number of seeds or OPTION=VALUE,VALUE")
    for key, given in values.items():
        choose("option in replicas", key, SCALARS)
        if key == "loss.task_weights":  # a value is a list itself: in brackets, or between '|'
            given = [one for part in given for one in part.split("|")]
            values[key] = [one.strip().strip("()[]") for one in given]
    counts = {key: len(v) for key, v in values.items()}
    if not values or len(set(counts.values())) > 1:
        raise UserError(
            f"replicas={text!r}: expected the same number of values for each option, got {counts}"
        )
    return [dict(zip(values, row)) for row in zip(*values.values())]


def replica_config(config: ConfigDict, given: dict[str, str]) -> ConfigDict:
    """The config of one replica, as for a run of its own."""
    own = ConfigDict(config.to_dict()).lock()
    own.replicas = ""
    own.parallel.devices = 1
    for key, value in given.items():
        override(own, key, value)
    return own
