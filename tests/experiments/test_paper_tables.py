"""Paper tables: each run once, kept when things go wrong, and found again."""

import dataclasses
import json
import re

import pytest
from untrained_tables import TINY, invented, untuned

from dtn_jax.errors import UserError
from experiments import paper_tables
from experiments.tables import cells, jobs, kept, pack, tuning

pytest_plugins = ["table_fixtures"]


def names(tmp_path):
    """Of all that is kept, in single files and packed."""
    folder = tmp_path / "adult"
    return {*pack.read(folder), *map(kept.name_of, kept.singles(folder))}


def test_a_table_is_made_gone_on_with_and_extended(call, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "adult"
    # What this is about does not depend on the models, and these compile fast.
    entries = {name: TINY.entries["shared_bottom"] | {"model.mlp.hidden": (width,)}
               for name, width in (("plain", 8), ("wide", 12))}  # fmt: skip
    protocol = dataclasses.replace(TINY, entries=entries, ours="plain")
    tune = tuning.tune

    def tune_one(protocol, name, *rest):  # for time
        return (tune if name == "plain" else untuned)(protocol, name, *rest)

    compute = cells.compute

    def compute_one(config, data, run):
        plain = config.model.mlp.hidden == (8,)
        return (compute if plain else invented)(config, data, run)

    monkeypatch.setattr(tuning, "tune", tune_one)
    monkeypatch.setattr(cells, "compute", compute_one)
    found = call("--seeds=1", protocol=protocol)
    assert [row["name"] for row in found["rows"]] == ["plain", "wide"]
    assert [row["seeds"] for row in found["rows"]] == [[1], [1]]
    assert found["missing"] == {}
    assert len([name for name in names(tmp_path) if name.startswith("tuning/")]) == 2
    first = pack.read(folder)
    assert len(first) == 4
    assert kept.singles(folder) == []
    for name in ("overall.md", "overall.tex", "overall.csv", "report.html"):
        assert (folder / name).stat().st_size > 500
    assert "![overall_cost](overall_cost.png)" in (folder / "overall.md").read_text()
    assert not (folder / "overall_differences.png").exists()  # of one seed
    assert re.search(r"income +never_married", capsys.readouterr().out)

    with monkeypatch.context() as patched:  # nothing is done again
        patched.setattr(cells, "train", None)
        again = call("--seeds=1", protocol=protocol)
    assert again["rows"] == found["rows"]

    later = call("--seeds=2", protocol=protocol)
    assert [row["seeds"] for row in later["rows"]] == [[1, 2], [1, 2]]
    assert first.items() <= pack.read(folder).items()
    assert (folder / "overall_differences.png").exists()

    monkeypatch.setattr(cells, "train", None)
    varied = call("--seeds=2", table="sensitivity", protocol=protocol)  # 4 is what ours has
    assert [row["name"] for row in varied["rows"]] == ["plain", "embedding_dim = 4"]
    assert varied["rows"][1]["comparison"] == {}
    report = (folder / "report.html").read_text()
    assert "All architectures" in report
    assert "plain at other sizes" in report
    assert report.count("data:image/png;base64") == 3
    assert not list(folder.glob("*.pdf"))


def test_what_fails_loses_nothing_else(call, tmp_path, monkeypatch, untrained):
    def fails(config, data, run):
        if config.model.architecture == "dtn" and config.seed == 2:
            raise MemoryError("the device is full")
        return untrained(config, data, run)

    monkeypatch.setattr(cells, "compute", fails)
    with pytest.raises(UserError, match=r"(?s)some runs failed.*dtn, seed 2.*device is full"):
        call()
    found = json.loads((tmp_path / "adult" / "overall.json").read_text())
    assert [row["seeds"] for row in found["rows"]] == [[1], [1, 2]]
    assert found["missing"] == {"dtn": 1}
    assert "runs still missing: 1 (dtn)" in (tmp_path / "adult" / "overall.md").read_text()
    first = names(tmp_path)

    def interrupted(config, data, run):
        raise KeyboardInterrupt

    monkeypatch.setattr(cells, "compute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call()
    assert names(tmp_path) == first
    monkeypatch.setattr(cells, "compute", untrained)
    assert call()["missing"] == {}
    assert first < names(tmp_path)


def test_doing_some_rows_leaves_the_others_in_the_table(call, untrained):
    call("--seeds=1")
    later = call("--seeds=2", "--entries=dtn")
    assert [row["seeds"] for row in later["rows"]] == [[1, 2], [1]]


@pytest.mark.slow
def test_seeds_together_find_what_they_find_alone(call, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "tune", untuned)
    alone = call("--entries=shared_bottom")
    (tmp_path / "adult" / pack.FILE).unlink()
    together = call("--entries=shared_bottom", "--together=always")
    assert any(p.name.endswith("-together") for p in (tmp_path / "adult" / "runs").iterdir())
    for one, other in zip(alone["rows"], together["rows"], strict=True):
        for key, metrics in one["metrics"].items():
            assert metrics["auc"] == pytest.approx(other["metrics"][key]["auc"], abs=2e-4)
            assert len(set(metrics["auc"])) == 2  # seeds


def test_one_seeds_fault_is_not_that_of_those_together_with_it(
    call, tmp_path, monkeypatch, untrained
):
    def together(configs, data, run):
        raise UserError("replica 1: the loss is not finite")

    def alone(config, data, run):
        if config.seed == 2:
            raise UserError("the loss is not finite")
        return untrained(config, data, run)

    monkeypatch.setattr(cells, "compute_together", together)
    monkeypatch.setattr(cells, "compute", alone)
    with pytest.raises(UserError, match=r"shared_bottom, seed 1, 2, 3: seed 2: the loss is not"):
        call("--entries=shared_bottom", "--together=always", "--seeds=3")
    found = json.loads((tmp_path / "adult" / "overall.json").read_text())
    assert [row["seeds"] for row in found["rows"]] == [[1, 3]]


def test_entries_are_looked_up_in_all_tables_before_the_first_is_made(call, untrained, tmp_path):
    expected = r"unknown entry 'embedding_dim = 8'.* shared_bottom; embedding_dim = 4\."
    with pytest.raises(UserError, match=expected):
        call("--table=overall,sensitivity", "--entries=shared_bottom,embedding_dim = 8")
    assert not names(tmp_path)
    call("--table=overall,sensitivity", "--entries=shared_bottom,embedding_dim = 4", "--seeds=1")
    assert len([name for name in names(tmp_path) if name.startswith("cells/")]) == 2


def test_an_entry_whose_tuning_fails_is_not_waited_for(call, untrained, monkeypatch, tmp_path):
    def fails(protocol, name, *rest):
        if name == "dtn":
            raise UserError("no trial succeeded")
        return untuned(protocol, name, *rest)

    monkeypatch.setattr(tuning, "tune", fails)
    monkeypatch.setattr(jobs.time, "sleep", lambda _: pytest.fail("it waits"))
    with pytest.raises(UserError, match="tuning dtn: no trial succeeded"):
        call("--seeds=1")
    found = json.loads((tmp_path / "adult" / "overall.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["shared_bottom"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=adults"], "Did you mean 'adult'"),
        (["--protocol=no/file.py"], r"no protocol file 'no/file.py'; the shipped ones: adult"),
        (["--dataset=adult", "--protocol=a.py"], "give only one"),
        (["--dataset=adult", "--table=overal"], "Did you mean 'overall'"),
        (["--dataset=adult", "--seeds=0"], "--seeds=0: expected at least 1"),
        (["--dataset=adult", "--together=yes"], "unknown --together 'yes'"),
        (["--dataset=adult", "--set=seed"], "--set: expected KEY=VALUE, got 'seed'"),
        (["--dataset=adult", "--set=sead=1"], "Did you mean seed"),
        (["--dataset=adult", "--set=seed=1"], "--seeds says how many"),
        (["--dataset=adult", "--set=model.experts=mlp"], r"by its entries dtn, .*--protocol=FILE"),
        (["--dataset=adult", "--set=model.dropout=0"], "is what the trials search"),
        (["--dataset=adult", "--table=all,overall"], "unknown table 'all'"),
        (["--dataset=adult", "--entries=pla"], r"unknown entry 'pla'. Did you mean 'ple'"),
    ],
)
def test_bad_arguments_are_named(arguments, message, prepared_dir, tmp_path):
    arguments = ["--table=overall", *arguments]  # the last one wins
    with pytest.raises(UserError, match=message):
        paper_tables.main([*arguments, f"--data_dir={prepared_dir}", f"--workdir={tmp_path}"])


def test_the_command_of_a_table_names_no_place():
    given = ["--dataset=adult", "--workdir=/a", "--runs", "/b", "--table=overall", "--data_dir=/c"]
    given += ["--entries=dtn"]  # the table has the others too
    command = paper_tables.remade([*given, "--set=optim.b1=0.8,optim.b2=0.9"])
    assert command == (
        "python -m experiments.paper_tables --dataset=adult --table=overall "
        "--set=optim.b1=0.8,optim.b2=0.9"
    )
