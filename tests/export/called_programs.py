"""An exported program, called by hand: no code of the package but what names its files."""

import functools
import pathlib
from typing import NamedTuple

import jax
import numpy as np
from safetensors.numpy import load_file

from dtn_jax.export import model_folder


class Called(NamedTuple):
    """What lies in a model's folder."""

    facts: model_folder.Facts
    weights: dict
    program: object

    def inputs(self, batch):
        ids, offsets = np.asarray(batch.ids), np.asarray(self.facts.offsets, np.int32)
        rows = np.where(ids[:, None] < 0, self.facts.rows, ids[:, None] + offsets[None])
        return {
            "ids": ids,
            "rows": rows.astype(np.int32),
            "weights": np.asarray(batch.weights, np.float32),
            "numeric": np.asarray(batch.numeric, np.float32),
        }

    def logits(self, batch):
        return np.asarray(self.program(self.weights, self.inputs(batch)))


def opened(folder: pathlib.Path) -> Called:
    return _opened(folder, model_folder.read_manifest(folder)["files"]["model.json"]["sha256"])


@functools.cache
def _opened(folder: pathlib.Path, _version: str) -> Called:
    stored = (folder / model_folder.PROGRAM).read_bytes()
    program = jax.jit(jax.export.deserialize(bytearray(stored)).call)
    weights = load_file(folder / model_folder.WEIGHTS)
    return Called(model_folder.read_facts(folder), weights, program)
