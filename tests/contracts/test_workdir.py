"""Whose a folder is: a run's config and data, and one process at a time."""

import json

import claimed_folders
import pytest
from claimed_folders import FINGERPRINT, RESULTS, SCHEMA, claim, config, contents, refused

from dtn_jax import workdir
from dtn_jax.config import identity
from dtn_jax.config.identity import SHOWN
from dtn_jax.errors import UserError
from dtn_jax.schema import Schema
from dtn_jax.shared_files import locked
from dtn_jax.workdir import Workdir

claimed = claimed_folders.claimed


def test_a_new_folder_is_made_and_says_whose_it_is(tmp_path):
    folder = claim(tmp_path / "runs/new")
    assert {p.name for p in folder.path.iterdir()} == {"config.json", "schema.json", "lock"}
    facts = json.loads((folder.path / "config.json").read_text())
    assert identity(facts["config"]) == identity(config())
    assert facts["data"] == FINGERPRINT
    assert set(facts["versions"]) == {"python", *workdir.PACKAGES}
    assert Schema.load(folder.path / "schema.json") == SCHEMA


def test_of_two_processes_one_alone_works_in_a_folder(tmp_path):
    first = Workdir(tmp_path / "run", config(), SCHEMA, FINGERPRINT)
    with pytest.raises(workdir.Busy, match=r"another process works in workdir .*run"):
        Workdir(tmp_path / "run", config(), SCHEMA, FINGERPRINT)
    first.close()
    claim(tmp_path / "run")


def test_a_process_that_dies_frees_its_folder_even_before_it_wrote(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("lock", "schema.json.a7.tmp", "schema.json", "config.json.a7.tmp"):
        (tmp_path / "run" / name).touch()
    assert (claim(tmp_path / "run").path / "config.json").exists()


@pytest.mark.parametrize("names", [("schema.json",), ("lock", "notes.tmp"), ("lock", "mine")])
def test_what_no_run_left_is_not_taken(names, tmp_path):
    (tmp_path / "run").mkdir()
    for name in names:
        (tmp_path / "run" / name).touch()
    assert "holds no run" in refused(tmp_path / "run")


def test_a_finished_run_that_cannot_be_written_can_be_looked_at(claimed, monkeypatch):
    def refuses(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(workdir, "locked", refuses)
    assert claim(claimed).results() == RESULTS
    (claimed / "results.json").unlink()
    assert "cannot be written: Permission denied" in refused(claimed)


def test_a_folder_that_another_config_has_just_taken_is_refused(tmp_path, monkeypatch):
    def slow(path):
        monkeypatch.undo()
        claim(tmp_path / "run", seed=5)
        return locked(path)

    monkeypatch.setattr(workdir, "locked", slow)
    with pytest.raises(UserError, match="seed: 5 there, 0 now"):
        claim(tmp_path / "run")


def test_a_file_system_without_locks_refuses_nobody(tmp_path, monkeypatch):
    def absent(*_):
        raise OSError("no locks here")

    monkeypatch.setattr(workdir.fcntl, "flock", absent)
    first = Workdir(tmp_path / "run", config(), SCHEMA, FINGERPRINT)
    claim(tmp_path / "run")
    first.close()


def test_an_empty_folder_and_one_below_home_will_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "empty").mkdir()
    assert claim("~/empty").path == tmp_path / "empty"
    assert (tmp_path / "empty/config.json").exists()


def test_the_same_config_may_come_back(claimed):
    before = contents(claimed)
    claim(claimed)
    assert contents(claimed) == before


def test_runtime_options_may_change(claimed):
    claim(claimed, parallel__devices=2, train__log_every=7, data__placement="stream")
    stored = json.loads((claimed / "config.json").read_text())["config"]
    assert stored["parallel"]["devices"] == 0  # what began the run stays on record


def test_another_config_is_refused_with_the_keys_that_differ(claimed):
    message = refused(
        claimed, seed=3, model__gdcn__layers=4, model__mlp__hidden=(8, 4), optim__tables="sgd"
    )
    assert f"workdir {claimed} belongs to another config; name another folder." in message
    assert set(message.splitlines()[1:]) == {
        "  seed: 0 there, 3 now",
        "  model.gdcn.layers: 2 there, 4 now",  # no mlp is in it
        "  optim.tables: 'adam' there, 'sgd' now",
    }


def test_a_runtime_option_is_not_among_the_keys_that_differ(claimed):
    assert "log_every" not in refused(claimed, seed=3, train__log_every=7)


def test_many_keys_that_differ_are_counted(claimed):
    keys = ("b1", "b2", "eps", "table_l2", "table_init", "codebook_init", "clip", "weight_decay")
    message = refused(claimed, seed=3, **{f"optim__{k}": 0.125 for k in keys})
    assert len(message.splitlines()) == 1 + SHOWN + 1
    assert message.splitlines()[-1] == "  and 1 more"


def test_an_option_that_a_folder_of_another_version_lacks_or_has(claimed):
    facts = json.loads((claimed / "config.json").read_text())
    del facts["config"]["optim"]["clip"]
    facts["config"]["optim"]["momentum"] = 0.9
    (claimed / "config.json").write_text(json.dumps(facts))
    assert refused(claimed, optim__clip=1.0).splitlines()[1:] == [  # one that it lacks: default
        "  optim.momentum: 0.9 there, the default now",
        "  optim.clip: the default there, 1.0 now",
    ]


def test_other_data_are_refused(claimed):
    message = refused(claimed, "b2" * 32)
    assert "belongs to another version of the data set" in message
    assert f"fingerprint {FINGERPRINT[:12]} there, {'b2' * 6} now" in message
