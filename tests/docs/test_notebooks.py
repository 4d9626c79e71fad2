"""docs/notebooks run whole, each in a folder of its own, and say what they found."""

import json
import os
import subprocess
import sys

import pytest
import repository_pages
from example_files import ROOT

pytestmark = pytest.mark.slow  # needs what builds the site

SAYS = {
    "dtn_on_your_logs": ("dtn_on_your_logs/data/logs/shop", "order@cart", "FLOPs an"),
    "do_your_tasks_disagree": ("noise alone", "evenness", "cosine", "try"),
}
PICTURES = {
    "dtn_on_your_logs": "differences.png",
    "do_your_tasks_disagree": "pictures/importance.png",
}


def test_all_of_them():
    assert {path.stem for path in (ROOT / "docs/notebooks").glob("*.py")} == set(SAYS)
    assert set(repository_pages.DRAWN) == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_its_outputs_are_those_of_its_code(name):
    text = (ROOT / f"docs/notebooks/{name}.py").read_text()
    kept = json.loads((ROOT / repository_pages.KEPT / f"{name}.json").read_text())
    run_again = f"run docs/tools/run_notebooks.py {name}"
    assert kept["code"] == repository_pages.fingerprint(text), run_again
    assert [output["drawn"] for output in kept["outputs"]].count(True) == 1
    printed = "\n".join(line for output in kept["outputs"] for line in output["printed"])
    for words in SAYS[name]:
        assert words in printed
    assert (ROOT / repository_pages.PICTURES / f"{name}.png").stat().st_size < 100_000


@pytest.mark.parametrize("name", SAYS)
def test_it_runs(name, tmp_path, prepared_dir):
    given = {"DTN_NOTEBOOK": "small", "DTN_DATA_DIR": prepared_dir, "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, ROOT / f"docs/notebooks/{name}.py"],
        cwd=tmp_path,
        env=os.environ | given | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for words in SAYS[name]:
        assert words in done.stdout
    assert (tmp_path / name / PICTURES[name]).stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir()] == [name]
