"""docs/export.md: its commands run, and what it says of the folder is so."""

import pathlib
import re
import shlex
import shutil

import pytest
from exported_runs import finished

import dtn_jax.export
from dtn_jax.export import model_folder
from experiments import export

pytestmark = pytest.mark.usefixtures("quick_card")

PAGE = (pathlib.Path(__file__).parents[2] / "docs/export.md").read_text()
COMMANDS = re.findall(r"^python -m experiments\.(\w+) (.*)$", PAGE, re.M)


def test_its_table_lists_the_files_of_a_folder(exported_model):
    told = set(re.findall(r"^\| `([\w.]+)", PAGE, re.M))
    there = {path.name for path in exported_model.iterdir()}
    assert there <= told | {"card"}


@pytest.mark.slow
def test_its_commands_run(finished_run, prepared_dir, tmp_path, monkeypatch):
    """Its two runs are small ones here."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished_run, "runs/adult_dtn")
    finished(prepared_dir, tmp_path / "runs/adult_dtn_1", seed=1)
    assert [name for name, _ in COMMANDS].count("train") == 2
    for name, arguments in COMMANDS:
        if name == "export":
            export.main(shlex.split(arguments))
    made = {path.name for path in pathlib.Path("models").iterdir()}
    assert made == set(re.findall(r"--out=models/(\w+)", PAGE))
    for name in made:
        assert model_folder.read_manifest(pathlib.Path("models", name))["files"]
    code = re.search(r"^```python\n(import dtn_jax.export\n.*?)^```", PAGE, re.M | re.S)[1]
    exec(compile(code, "docs/export.md", "exec"), {})
    row = dict.fromkeys(dtn_jax.export.load("models/adult_dtn").columns)
    assert dtn_jax.export.load("models/adult_income").score([row]).columns == ["income@all"]
