"""A program is made anew from the folder alone; what a stranger's folder names is not run."""

import json
import os
import shutil

import numpy as np
import pytest
from called_programs import opened
from small_runs import small

from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.export.write import make_again
from dtn_jax.input.reader import in_order
from dtn_jax.run import build_run
from experiments import export


@pytest.fixture
def copy(exported_model, tmp_path):
    return shutil.copytree(exported_model, tmp_path / "model")


def edited(folder, name, edit):
    """Changes a JSON file of a folder, and the manifest with it."""
    path = folder / name
    found = json.loads(path.read_text())
    edit(found)
    path.write_text(json.dumps(found))
    if name != model_folder.MANIFEST:
        told = json.loads((folder / model_folder.MANIFEST).read_text())
        del told["format"], told["files"]
        model_folder.write_manifest(folder, told)


def test_scores_are_the_same_and_all_else_stays(copy, prepared_dir):
    run = build_run(small(prepared_dir))
    batch = next(in_order(run.data, "validation", 64, slice(0, 64)))
    before, logits = model_folder.read_manifest(copy), opened(copy).logits(batch)
    edited(copy, model_folder.MANIFEST, lambda told: told["program"].update(made="2020-01-01"))
    (copy / model_folder.PROGRAM).write_bytes(b"too old to be read")
    edited(copy, model_folder.MODEL, lambda told: None)
    export.main([f"--again={copy}"])
    after = model_folder.read_manifest(copy)
    np.testing.assert_array_equal(opened(copy).logits(batch), logits)
    assert after["program"]["made"] > "2026"
    for key in ("made", "data", "plugins"):
        assert after[key] == before[key]
    changed = {n for n in before["files"] if before["files"][n] != after["files"][n]}
    assert changed <= {model_folder.PROGRAM, model_folder.MODEL}
    assert [p.name for p in copy.parent.iterdir()] == ["model"]


def test_a_folder_that_needs_other_weights_is_refused(copy):
    before = (copy / model_folder.PROGRAM).read_bytes()
    edited(copy, model_folder.MODEL, lambda told: told["config"].update({"model.expert_dim": 9}))
    with pytest.raises(UserError, match="another model than the one that was trained"):
        make_again(copy)
    assert (copy / model_folder.PROGRAM).read_bytes() == before
    assert [p.name for p in copy.parent.iterdir()] == ["model"]


def test_what_a_folder_names_is_not_run(copy, write_plugin, tmp_path):
    """A plug-in's code is run only where it is given, and is the one of the manifest."""
    ran = tmp_path / "ran"
    code = f"import pathlib\npathlib.Path({str(ran)!r}).touch()\nEXPERTS = {{}}\n"
    path = write_plugin(code)
    sha = model_folder.sha256(path)

    def name(told):
        told["plugins"] = [{"name": str(path), "sha256": sha}]

    edited(copy, model_folder.MANIFEST, name)
    edited(copy, model_folder.MODEL, lambda told: told["config"].update(plugins=f"{path}#{sha}"))
    with pytest.raises(UserError, match="--plugins=FILE"):
        make_again(copy)
    path.write_text(code + "# changed")
    with pytest.raises(UserError, match=f"the SHA-256 {sha[:12]}"):
        make_again(copy, str(path))
    edited(copy, model_folder.MANIFEST, lambda told: told.update(plugins=[]))
    with pytest.raises(UserError, match="knows no plug-in"):
        make_again(copy, str(path))
    assert not ran.exists()
    edited(copy, model_folder.MODEL, lambda told: told["config"].update(plugins=""))
    make_again(copy)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda told: told["config"].update({"model.colour": "red"}), "model.colour"),
        (lambda told: told["config"].update({"model.architecture": "red"}), "architecture 'red'"),
        (lambda told: told["config"].update({"model.expert_dim": "red"}), "damaged"),
        (lambda told: told.update(table_dtype="red"), "dtype of tables 'red'"),
        (lambda told: told.update(members=[]), "members"),
        (lambda told: told.pop("rows"), "damaged"),
        (lambda told: told.update(rows=told["rows"] + 1), "begin elsewhere"),
        (lambda told: told.update(config=["model.architecture"]), "damaged"),
    ],
)
def test_a_damaged_model_json_is_told(copy, edit, told):
    edited(copy, model_folder.MODEL, edit)
    with pytest.raises(UserError, match=told):
        make_again(copy)


@pytest.mark.parametrize("plugins", [5, ["mine.py"], [{"name": "mine.py"}]])
def test_a_damaged_manifest_is_told(copy, plugins):
    edited(copy, model_folder.MANIFEST, lambda told: told.update(plugins=plugins))
    with pytest.raises(UserError, match="damaged"):
        make_again(copy)


def test_a_process_that_dies_leaves_the_old_model(copy, monkeypatch):
    class DeadError(Exception):
        pass

    def dies(made, out):
        raise DeadError

    monkeypatch.setattr("dtn_jax.export.write.new_folder.put_in_place", dies)
    monkeypatch.setattr("shutil.rmtree", lambda *args, **kwargs: None)
    before = model_folder.read_manifest(copy)
    with pytest.raises(DeadError):
        make_again(copy)
    monkeypatch.undo()
    assert model_folder.read_manifest(copy) == before
    (left,) = (p for p in copy.parent.iterdir() if p != copy)
    assert left.name.startswith(".model.")
    make_again(copy)
    assert not left.exists()
    assert os.listdir(copy.parent) == ["model"]


def test_options_of_an_export_mean_nothing_with_again(copy):
    with pytest.raises(UserError, match="no use for --tables"):
        export.main([f"--again={copy}", "--tables=int8"])
    with pytest.raises(UserError, match="no use for --data_dir"):
        export.main([f"--again={copy}", "--data_dir=elsewhere"])
    with pytest.raises(UserError, match="--onnx has no use for --tasks"):
        export.main([f"--onnx={copy}", "--out=a.onnx", "--tasks=income"])
