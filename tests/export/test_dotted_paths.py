"""A path with `..` in it is a path like any other: TensorStore refuses such names."""

import shutil

import pytest
from small_runs import CutError, assert_same_run, cut_after, small

from dtn_jax.export.write import export_run
from dtn_jax.shared_files import full_path
from dtn_jax.train import train
from experiments import feature_importance


def test_a_path_leads_where_the_system_finds_it(tmp_path):
    (tmp_path / "far/away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far/away")
    real = tmp_path.resolve()
    assert full_path(tmp_path / "link/../run") == real / "far/run"
    assert full_path(tmp_path / "far/../run/.") == real / "run"
    assert full_path(tmp_path / "link/run") == tmp_path / "link/run"


@pytest.mark.slow
def test_a_run_resumes(finished_run, prepared_dir, tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 1)
        train(small(prepared_dir), "../run")
    train(small(prepared_dir), "../run")
    told = capsys.readouterr().out
    assert "Resuming at step 12 of 45" in told
    assert "../run" not in told
    assert_same_run(small(prepared_dir), finished_run, tmp_path / "run")


def test_a_run_is_exported(finished_run, tmp_path, capsys):
    (tmp_path / "here").mkdir()
    workdir = finished_run.parent / "none" / ".." / finished_run.name
    assert export_run([workdir], tmp_path / "here/../model") == (tmp_path / "model").resolve()
    assert ".." not in capsys.readouterr().out.replace("...", "")


def test_a_run_is_explained(finished_run, tmp_path, monkeypatch):
    shutil.copytree(finished_run, tmp_path / "run")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    given = ["--workdir=../run", "--methods=permutation", "--rows=100", "--repeats=1"]
    feature_importance.main(given)
    assert (tmp_path / "run/importance/importance.json").exists()
