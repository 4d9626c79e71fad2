"""The sweep command on adult, called in this process."""

import json
import pathlib

from dtn_jax.cli import sweep
from dtn_jax.search import sweep as searches
from dtn_jax.search import trials

CONFIG = "--config=configs/adult.py:dtn"
GRID = "--grid=optim.learning_rate=1e-3,3e-3;model.dropout=0,0.1,0.2"
# A trial that takes a second.
TINY = (
    *("--config.model.experts=mlp", "--config.model.mlp.hidden=(4,)"),
    *("--config.model.architecture=shared_bottom", "--config.train.max_steps=2"),
    *("--config.model.embedding_dim=2", "--config.parallel.devices=1"),
)


def run(workdir, prepared_dir, *arguments):
    sweep.main(
        [CONFIG, f"--workdir={workdir}", f"--config.data.data_dir={prepared_dir}", *arguments]
    )
    return json.loads((workdir / "sweep.json").read_text())


def invented_training(monkeypatch):
    """What is trained, by a training that knows which setting is best: dropout 0.1 and 3e-3.

    Nothing is drawn, which would take longer than all else.
    """
    done = []

    def train(config, workdir, *, test, after_validation):
        assert not test
        done.append((config.model.architecture, pathlib.Path(workdir).name, config))
        value = 0.9 - abs(config.model.dropout - 0.1) - abs(config.optim.learning_rate - 3e-3)
        for step in (1, 2, 3) if after_validation else ():
            after_validation(step, {config.train.select: value})
        keys = ("income@all", "never_married@all")
        validation = {key: {"auc": value} for key in keys}
        return {"validation": validation, "selected_by": config.train.select}

    monkeypatch.setattr(trials, "train", train)
    monkeypatch.setattr(searches, "draw", lambda *_: None)
    return done
