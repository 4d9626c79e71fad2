"""A regression in raw units beside binary tasks gets a note before training."""

import numpy as np
import pytest

from configs.base import get_config
from dtn_jax.losses import read_losses, scales
from dtn_jax.schema import Field, Schema, Task

SCHEMA = Schema("s", (Field("f", rows=2),), (Task("click"), Task("watch", "regression")))
LABELS = np.array([[1, 30], [0, 0], [1, 50], [0, 1e9]], np.float32)
KNOWN = np.array([[1, 1], [1, 1], [1, 1], [1, 0]], bool)


def notes(schema=SCHEMA, **loss):
    config = get_config()
    config.loss.update(loss)
    losses = read_losses(config.loss, schema)
    return list(scales.notes(losses, config.loss.task_weights, schema, LABELS, KNOWN))


def test_a_label_in_seconds_dwarfs_a_click():
    (note,) = notes()  # (30² + 50²) / 3 = 1,133
    assert "the squared error of watch is 1,133 at first, a binary task's loss 0.7" in note
    assert "--config.loss.tasks=watch=log_normal, if no label is below 0, or --config" in note
    assert note.endswith("--config.loss.task_weights=watch=0.0006")


@pytest.mark.parametrize(
    "loss",
    [{"task_weights": "watch=0.0006"}, {"tasks": "watch=huber"}, {"task_weights": "watch=0"}],
)
def test_a_weight_or_another_loss_takes_the_note_away(loss):
    assert notes(**loss) == []


def test_regressions_alone_have_none():
    assert (
        notes(Schema("s", SCHEMA.fields, (Task("a", "regression"), Task("b", "regression")))) == []
    )
