"""A metric in a file of one's own, outside the package."""

import numpy as np
import pytest

from dtn_jax.config import plugins
from dtn_jax.errors import UserError
from dtn_jax.metrics import METRICS, Rows, measure
from dtn_jax.metrics.selected import read_selection

BRIER = """
import numpy as np
from dtn_jax.metrics import Metric
from dtn_jax.metrics.sigmoid import probabilities_of

def brier(rows):
    if not rows.labels.size:
        return None
    squared = (rows.once(probabilities_of) - rows.labels) ** 2
    return float(np.average(squared, weights=rows.weights))

METRICS = {
    "brier": Metric(
        NAME, "Brier score", brier, higher_is_better=False, selectable=True, column="Brier"
    )
}
"""


@pytest.fixture
def load(monkeypatch, tmp_path):
    monkeypatch.setattr(plugins, "loaded", {})
    before = dict(METRICS)

    def load(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return plugins.load(str(path))

    yield load
    METRICS.clear()
    METRICS.update(before)


def test_it_is_measured_and_can_select(load):
    load(BRIER.replace("NAME", "'brier'"))
    logits, labels = np.array([0.0, 0.0]), np.array([0, 1])
    found = measure(Rows("binary", logits, labels))
    assert found["brier"] == 0.25
    selection = read_selection("train.select", "click:brier", {"click": found})
    assert selection.title == "Brier score"
    assert selection.better(0.2, 0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BRIER.replace("NAME", "'other'"), "under another name than its own, 'other'"),
        ("METRICS = {'brier': max}", "expected a dtn_jax.metrics.metric.Metric"),
        ("METRICS = {'auc': max}", "the name is taken"),
    ],
)
def test_what_is_no_metric_is_told(load, text, message):
    with pytest.raises(UserError, match=message):
        load(text)
    assert "brier" not in METRICS
