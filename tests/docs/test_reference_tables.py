"""The pages' reference tables name all that there is, and nothing else."""

import re

import pytest
from example_files import ROOT

from dtn_jax.balancing import BALANCERS
from dtn_jax.datasets.preparation.catalog import DATASETS
from dtn_jax.losses import LOSSES
from dtn_jax.metrics import METRICS
from dtn_jax.models.histories import HISTORIES

ROW = re.compile(r"^\| ((?:`[^`]+`(?:, )?)+)", re.M)  # the names that its first cell begins with
TABLES = {
    ("losses.md", "One loss per task"): LOSSES,
    ("losses.md", "Balancing tasks"): {"none", *BALANCERS},
    ("losses.md", "Metrics"): METRICS,
    ("data.md", "Which data sets there are"): {*DATASETS} - {"logs"},  # has a page of its own
    ("histories.md", "From a list to a vector"): {"''", *HISTORIES},
}


@pytest.mark.parametrize(("page", "heading"), TABLES)
def test_a_table_names_all_there_are(page, heading):
    text = (ROOT / "docs" / page).read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = section[section.index("\n| ---") :]
    named = [name for cell in ROW.findall(table) for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(named) == sorted(TABLES[page, heading])
