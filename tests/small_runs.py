"""Runs of a few steps on adult, what they logged, and how to cut and to poison them."""

import json
import pathlib

import chex
import jax
import numpy as np

from configs import adult as adult_config
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.data.epochs.streamed import StreamedData
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.run import build_run
from dtn_jax.run.state import create_state

STEPS = 45
# What architectures need on adult, which has no funnel and names no roles of fields.
FUNNEL = {"model__upstream": "never_married:income"}
SCENARIO = ("workclass",)
NEEDS = {
    "esmm": FUNNEL,
    "escm2": FUNNEL,
    "pepnet": {"model__pepnet__domain": SCENARIO, "model__pepnet__prior": ("occupation", "race")},
    **{name: {f"model__{name}__scenario": SCENARIO} for name in ("star", "hmoe", "mdl", "m3oe")},
}


def small(prepared_dir, **changes):
    """A run of 45 steps with validations, checkpoints and log lines at different steps.

    What it has beside embeddings is quick to trace and compile: dropout, and statistics that
    training gathers. `model__dropout=0.0` changes model.dropout.
    """
    config = adult_config.get_config("model.architecture=shared_bottom")
    config.data.data_dir = prepared_dir
    config.data.batch_size = 256
    config.model.embedding_dim = 4
    config.model.expert_dim = 8
    config.model.experts = "mlp"
    config.model.mlp.hidden = (8,)
    config.model.tower_hidden = (8,)
    config.model.dropout = 0.2
    config.model.normalisation = "batch"
    config.optim.schedule = "constant"
    config.optim.learning_rate = config.optim.table_learning_rate = 0.01
    config.train.epochs, config.train.max_steps = 4, STEPS
    config.train.eval_every = 15
    config.train.log_every = 20
    config.train.checkpoint_every = 12
    config.parallel.devices = 1
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def logged(workdir):
    """metrics.jsonl without the speeds."""
    lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [
        {k: v for k, v in r.items() if k != "examples_per_second" and not k.startswith("exchange/")}
        for r in records
    ]


def last_state(config, workdir):
    run = build_run(config)
    like = create_state(run.config, run.model, run.plan)
    state, progress = Checkpoints(pathlib.Path(workdir), run.plan).restore(like)
    return jax.tree.map(np.asarray, state.replace(key=None)), progress


def assert_same_run(config, one, other):
    assert logged(one) == logged(other)
    (state, progress), (state2, progress2) = last_state(config, one), last_state(config, other)
    assert progress == progress2
    chex.assert_trees_all_equal(state, state2)


class CutError(Exception):
    """Stands for whatever ends a process."""


def cut_after(monkeypatch, saves):
    """Makes the run end right after its `saves`-th checkpoint."""
    save, done = Checkpoints.save, []

    def save_and_end(self, *args):
        save(self, *args)
        done.append(1)
        if len(done) == saves:
            raise CutError

    monkeypatch.setattr(Checkpoints, "save", save_and_end)


def poison(monkeypatch, *steps):
    """From now on, training meets a label that is NaN at these steps, from 1, of its first
    epoch."""
    for source in (ResidentData, StreamedData):
        monkeypatch.setattr(source, "chunk", poisoned(source.chunk, steps))


def poisoned(chunk_of, steps):
    def chunk(self, seed, epoch, start, count, batch_size):
        whole = chunk_of(self, seed, epoch, start, count, batch_size)
        labels = np.array(whole.labels)
        for step in steps:
            if epoch == 0 and start < step <= start + count:
                labels[step - 1 - start, 3, 0] = np.nan
        return whole.replace(labels=labels)

    return chunk
