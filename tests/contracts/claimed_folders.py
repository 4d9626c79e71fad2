"""A folder that a run has claimed, and what is said of one that it may not claim."""

import json

import pytest
import refused_configs
from command_calls import contents

from configs import adult
from dtn_jax.config import checked_config
from dtn_jax.run.workdir import Workdir
from dtn_jax.schema import Field, Schema, Task

SCHEMA = Schema("shop", fields=(Field("item", rows=3),), tasks=(Task("click"),))
RESULTS = {  # of a finished run, no more than all have
    "dataset": "shop",
    "architecture": "dtn",
    "experts": "mlp",
    "parameters": 1,
    "flops_per_example": 1,
    "steps": 1,
    "best_steps": {"mean": 1},
    "selected_by": "mean",
    "validation": {"click@all": {"auc": 0.5, "ece": None}},
}
FINGERPRINT = "a1" * 32


def config(**changes):
    made = adult.get_config("model.architecture=dtn")
    made.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return checked_config(made)


def claim(path, fingerprint=FINGERPRINT, **changes):
    folder = Workdir(path, config(**changes), SCHEMA, fingerprint)
    folder.close()  # the test may claim it again
    return folder


def refused(path, *arguments, **changes) -> str:
    """The message with which a folder is refused; nothing in it may change."""
    before = contents(path)
    message = refused_configs.refused(claim, path, *arguments, **changes)
    assert contents(path) == before
    return message


@pytest.fixture
def claimed(tmp_path):
    claim(tmp_path / "run")
    (tmp_path / "run/results.json").write_text(json.dumps(RESULTS))
    (tmp_path / "run/checkpoints").mkdir()
    (tmp_path / "run/checkpoints/7").write_bytes(b"\0\1")
    return tmp_path / "run"
