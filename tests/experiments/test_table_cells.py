"""Cells and tunings of a table: found again, and not taken where they are others' or damaged."""

import base64
import json
import math

import pytest

from configs import base
from dtn_jax.errors import UserError
from experiments.tables import cells, draws, kept, pack, tuning

pytest_plugins = ["table_fixtures"]


def test_a_new_option_stops_no_run_that_was_cut(call, untrained, monkeypatch):
    """What was cut under other options is begun anew: its folder would refuse to go on."""
    runs = []

    def cut(config, data, run):
        runs.append(run.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(cells, "compute", cut)
    monkeypatch.setattr(cells, "changed", lambda config: {"seed": str(config.seed)})
    identity = cells.identity
    for another in ({}, {"model.another": 1}):
        monkeypatch.setattr(cells, "identity", lambda config, a=another: identity(config) | a)
        with pytest.raises(KeyboardInterrupt):
            call("--entries=shared_bottom", "--seeds=1")
    before, after = runs
    assert before != after
    assert before.rpartition("-")[0] == after.rpartition("-")[0]  # one cell


def test_a_cell_of_other_defaults_is_not_taken(call, tmp_path, untrained):
    call("--entries=shared_bottom", "--seeds=1")
    folder = tmp_path / "adult"
    content = dict(pack.read(folder))
    (name,) = (name for name in content if name.startswith("cells/"))
    other = content[name]["config"] | {"optim.b1": "0.8"}  # the default of another version
    pack.write(folder, content | {name: content[name] | {"config": other}})
    assert call("--entries=shared_bottom", "--seeds=1")["rows"]
    assert pack.read(folder)[name]["config"]["optim.b1"] == "0.9"


@pytest.mark.parametrize(("taken", "each"), [(6.0, 3.0), (None, None)])
def test_runs_of_one_program_share_its_time(taken, each, monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "train_replicas", lambda config, run: [taken, taken])
    monkeypatch.setattr(cells, "found", lambda *run_and_time: {"train_seconds": run_and_time[-1]})
    monkeypatch.setattr(cells.jax, "clear_caches", lambda: None)
    made = cells.compute_together([base.get_config(), base.get_config()], None, tmp_path)
    assert [cell["train_seconds"] for cell in made] == [each, each]


def test_cells_of_a_workdir_from_before_there_were_packs_are_read(
    call, tmp_path, untrained, monkeypatch
):
    before = call("--seeds=1")
    folder = tmp_path / "adult"
    for name, content in pack.read(folder).items():
        old = json.loads(json.dumps(content))
        for key, drawn in old.get("draws", {}).items():
            away = draws.numbers(drawn["steps"]) * drawn["step"]
            old["draws"][key] = base64.b64encode(away.astype("<f2").tobytes()).decode()
        kept.keep(folder / f"{name}.json", old)
    (folder / pack.FILE).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(cells, "compute", None)
        patched.setattr(tuning, "tune", None)
        assert call("--seeds=1")["rows"] == before["rows"]
    assert call("--seeds=2")["rows"][1]["comparison"]["income@all"]["p"] == 1  # of all draws
    assert len(pack.read(folder)) == 6
    assert kept.singles(folder) == []


EDITS = {  # of a cell, and whether its checksum is of it
    "an edited number": (lambda cell: cell["results"]["test"]["income@all"].update(auc=0.9), False),
    "not a number": (lambda cell: cell["results"]["test"]["income@all"].update(auc=math.nan), True),
    "a task lost": (lambda cell: cell["results"]["test"].pop("income@all"), True),
    "no config": (lambda cell: cell.update(config=None), True),
    "no results": (lambda cell: cell.update(results=7), True),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_cell_is_set_aside_and_computed_anew(
    name, call, tmp_path, untrained, capsys, monkeypatch
):
    monkeypatch.setattr(kept, "pack", lambda folder: None)
    whole = call("--entries=shared_bottom", "--seeds=1")
    (path,) = (tmp_path / "adult/cells").glob("*.json")
    edit, fitting = EDITS[name]
    cell = json.loads(path.read_text())
    edit(cell)
    kept.keep(path, cell) if fitting else path.write_text(json.dumps(cell))
    assert call("--entries=shared_bottom", "--seeds=1")["rows"] == whole["rows"]
    assert f"{path.name} is damaged (" in capsys.readouterr().out.replace("\n", "")
    assert path.with_suffix(".damaged").exists()


def test_an_edited_number_in_the_pack_is_told(call, tmp_path, untrained, capsys):
    whole = call("--entries=shared_bottom", "--seeds=1")
    content = pack.read(tmp_path / "adult")
    (cell,) = (content[name] for name in content if name.startswith("cells/"))
    cell["results"]["test"]["income@all"]["auc"] = 0.9
    pack.write(tmp_path / "adult", content)
    assert call("--entries=shared_bottom", "--seeds=1")["rows"] == whole["rows"]
    assert "its checksum is another" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(
    ("what", "text"),
    [("cells", "{"), ("cells", "[]"), ("cells", '{"config": {}}'), ("tuning", "")],
)
def test_a_damaged_file_is_set_aside_and_computed_anew(
    what, text, call, tmp_path, untrained, capsys, monkeypatch
):
    monkeypatch.setattr(kept, "pack", lambda folder: None)
    whole = call("--entries=shared_bottom", "--seeds=1")
    (path,) = (tmp_path / "adult" / what).glob("*.json")
    path.write_text(text)
    (tmp_path / "adult" / "ablation.json").write_text(text)
    assert call("--entries=shared_bottom", "--seeds=1")["rows"] == whole["rows"]
    printed = capsys.readouterr().out.replace("\n", "")
    assert f"{path.name} is damaged" in printed
    assert path.with_suffix(".damaged").read_text() == text
    assert ("not in the report" in printed) == (text in ("{", ""))


def test_a_damaged_pack_ends_the_command_before_anything_is_done(call, tmp_path, untrained):
    call("--seeds=1")
    path = tmp_path / "adult" / pack.FILE
    path.write_bytes(path.read_bytes()[:-9])
    damaged = path.read_bytes()
    with pytest.raises(UserError, match=r"cells\.jsonl\.xz is damaged"):
        call("--seeds=2")
    assert path.read_bytes() == damaged
    assert kept.singles(tmp_path / "adult") == []
