"""DTN of 23 fields with GDCN and MaskNet experts and lazy Adam, on many devices: to be planned."""

from __future__ import annotations

from typing import Any

from dtn_jax.config import base_config
from dtn_jax.schema import Field, Schema, Task
from experiments.benchmarks.needs import Prediction, predict
from experiments.benchmarks.programs import Program
from experiments.benchmarks.tables import FIELDS

EXAMPLES = 1024  # of a device in a step


def program(
    dim: int, rows: int, devices: int, changes: dict[str, Any], examples: int = EXAMPLES
) -> Program:
    config = base_config()
    config.model.embedding_dim = dim
    config.data.batch_size = config.data.eval_batch_size = examples * devices
    config.parallel.devices = devices
    config.update_from_flattened_dict(changes)
    fields = tuple(Field(f"f{i}", rows=rows // FIELDS) for i in range(FIELDS))
    return Program(config, Schema("plan", fields, (Task("click"), Task("order"))))


def predict_large(dim: int, rows: int, devices: int, platform: str) -> tuple[Program, Prediction]:
    """Of `rows` table rows of `dim` numbers, laid out as suits a platform."""
    p = program(dim, rows, devices, {"parallel.table_platform": platform})
    return p, predict(p.config, p.model, p.tables, devices)
