"""A small finished run on adult, its model, and the model's program called by hand; small models
of logs."""

import functools
import pathlib
from typing import NamedTuple

import jax
import numpy as np
import pytest
import quicker
from made_models import read_by_program
from matplotlib.figure import Figure
from safetensors.numpy import load_file
from small_runs import small

from configs import logs
from dtn_jax.export import model_folder
from dtn_jax.export.write import export_run
from dtn_jax.run.train import train


def finished(prepared_dir: str, folder: pathlib.Path, **changes) -> pathlib.Path:
    """The workdir of a run of 45 steps on adult: see small_runs.py."""
    with pytest.MonkeyPatch.context() as patch:  # to draw a run takes as long as to train it
        patch.setattr(Figure, "savefig", quicker.save_pixel)
        train(small(prepared_dir, **changes), folder)
    return folder


def exported(workdir: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    return export_run([workdir], folder)


def of_log(folder: pathlib.Path, **changes):
    """The config of a small model of the log in a folder, as `world.log.prepared` has it.

    `train__max_steps=2` changes train.max_steps.
    """
    config = logs.get_config(f"shared_bottom,schema={folder / 'shop.yaml'}")
    config.data.data_dir = str(folder / "data")
    config.model.experts, config.model.embedding_dim = "mlp", 4
    config.model.mlp.hidden = config.model.tower_hidden = (8,)
    config.parallel.devices = 1
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


class Called(NamedTuple):
    """What lies in a model's folder."""

    facts: model_folder.Facts
    weights: dict
    program: object

    def inputs(self, batch):
        return read_by_program(batch, self.facts.offsets, self.facts.rows)

    def logits(self, batch):
        return np.asarray(self.program(self.weights, self.inputs(batch)))


def opened(folder: pathlib.Path) -> Called:
    return _opened(
        folder, model_folder.read_manifest(folder)["files"][model_folder.MODEL]["sha256"]
    )


@functools.cache
def _opened(folder: pathlib.Path, _version: str) -> Called:
    stored = (folder / model_folder.PROGRAM).read_bytes()
    program = jax.jit(jax.export.deserialize(bytearray(stored)).call)
    weights = load_file(folder / model_folder.WEIGHTS)
    return Called(model_folder.read_facts(folder), weights, program)
