"""Paper tables: each run once, kept when things go wrong, found again, and cheaper ones."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import invented_runs
import pytest
from invented_runs import TINY, untuned

from dtn_jax.cli import paper_tables
from dtn_jax.errors import UserError
from dtn_jax.papertables import estimate, references, runs, tune
from dtn_jax.papertables import protocol as protocol_module
from dtn_jax.papertables.protocol import Entry, Published, configured, quick

pytest_plugins = ["table_fixtures"]


ONE = "--entries=shared_bottom"


@pytest.mark.slow
def test_a_table_is_made_gone_on_with_and_extended(call, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "adult"
    # What this is about does not depend on the models, and these compile fast.
    entries = {
        name: TINY.entries["shared_bottom"] | {"model.mlp.hidden": (width,)}
        for name, width in (("plain", 8), ("wide", 12))
    }
    protocol = dataclasses.replace(TINY, entries=entries, ours="plain")
    found = call("--seeds=1", protocol=protocol)
    assert [row["name"] for row in found["rows"]] == ["plain", "wide"]
    assert [row["seeds"] for row in found["rows"]] == [[1], [1]]
    assert found["missing"] == {}
    for name in ("overall.md", "overall.tex", "overall.csv"):
        assert (folder / name).stat().st_size > 500
    assert "![overall_cost](overall_cost.png)" in (folder / "overall.md").read_text()
    assert "AUC never_married@all" in capsys.readouterr().out

    later = call("--seeds=2", protocol=protocol)
    assert [row["seeds"] for row in later["rows"]] == [[1, 2], [1, 2]]
    assert all((folder / "runs" / name).is_dir() for row in later["rows"] for name in row["runs"])
    monkeypatch.setattr(runs, "train", None)  # nothing is done again
    assert call("--seeds=1", protocol=protocol)["rows"] == found["rows"]
    varied = call("--seeds=2", table="sensitivity", protocol=protocol)  # 4 is what ours has
    assert [row["name"] for row in varied["rows"]] == ["plain", "embedding_dim = 4"]
    assert varied["rows"][1]["comparison"] == {}


def files(folder):
    """{name: content} of a table's files."""
    return {p.name: p.read_bytes() for p in folder.glob("*") if p.suffix in (".md", ".tex", ".csv")}


def test_a_table_is_remade_identically_from_what_is_kept(call, untrained, tmp_path, monkeypatch):
    folder = tmp_path / "adult"
    first = call()
    before = files(folder)
    for name in before:
        (folder / name).unlink()
    monkeypatch.setattr(runs, "train", None)
    monkeypatch.setattr(tune, "tune", None)
    again = call()
    assert {k: v for k, v in again.items() if k != "date"} == {
        k: v for k, v in first.items() if k != "date"
    }
    assert files(folder) == before
    assert len(before) == 3


def test_what_fails_loses_nothing_else(call, tmp_path, monkeypatch, untrained):
    begun = []

    def fails(config, folder):
        begun.append((config.model.architecture, config.seed))
        if begun[-1] == ("dtn", 2):
            raise failure
        return untrained(config, folder)

    monkeypatch.setattr(runs, "train", fails)
    failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        call()
    failure = MemoryError("the device is full")
    with pytest.raises(UserError, match=r"(?s)some runs failed.*dtn, seed 2.*device is full"):
        call()
    found = json.loads((tmp_path / "adult" / "overall.json").read_text())
    assert [row["seeds"] for row in found["rows"]] == [[1], [1, 2]]
    assert found["missing"] == {"dtn": 1}
    page = (tmp_path / "adult" / "overall.md").read_text()
    assert "runs still missing: 1 (dtn)" in page
    assert "`dtn` (1 of 2 seeds)" in page
    monkeypatch.setattr(runs, "train", lambda *given: begun.append("last") or untrained(*given))
    assert call()["missing"] == {}
    assert begun.count(("dtn", 1)) == begun.count("last") == 1


def test_doing_some_rows_leaves_the_others_in_the_table(call, untrained):
    call("--seeds=1")
    later = call("--seeds=2", "--entries=dtn")
    assert [row["seeds"] for row in later["rows"]] == [[1, 2], [1]]


def test_entries_are_looked_up_in_all_tables_before_the_first_is_made(
    call, untrained, tmp_path, monkeypatch
):
    done = []
    monkeypatch.setattr(runs, "train", lambda *given: done.append(given) or untrained(*given))
    expected = r"unknown entry 'embedding_dim = 8'.* shared_bottom; embedding_dim = 4\."
    with pytest.raises(UserError, match=expected):
        call("--table=overall,sensitivity", "--entries=shared_bottom,embedding_dim = 8")
    assert not done
    call("--table=overall,sensitivity", "--entries=shared_bottom,embedding_dim = 4", "--seeds=1")
    assert len(done) == 2


def test_an_entry_whose_tuning_fails_is_not_waited_for(call, untrained, monkeypatch, tmp_path):
    def fails(protocol, name, *rest):
        if name == "dtn":
            raise UserError("no trial succeeded")
        return untuned(protocol, name, *rest)

    monkeypatch.setattr(tune, "tune", fails)
    monkeypatch.setattr(runs.time, "sleep", lambda _: pytest.fail("it waits"))
    with pytest.raises(UserError, match="tuning dtn: no trial succeeded"):
        call("--seeds=1")
    found = json.loads((tmp_path / "adult" / "overall.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["shared_bottom"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=adults"], "Did you mean 'adult'"),
        (["--protocol=no/file.py"], r"no protocol file 'no/file.py'; the shipped ones: adult"),
        (["--dataset=adult", "--protocol=a.py"], "give one of --dataset, --protocol, --config"),
        (["--table=overall"], "give one of --dataset, --protocol, --config"),
        (["--dataset=adult", "--table=overal"], "Did you mean 'overall'"),
        (["--dataset=adult", "--seeds=0"], "--seeds=0: expected at least 1"),
        (["--dataset=adult", "--entries=pla"], r"unknown entry 'pla'. Did you mean 'ple'"),
    ],
)
def test_bad_arguments_are_named(arguments, message, prepared_dir, tmp_path):
    arguments = ["--table=overall", *arguments]  # the last one wins
    with pytest.raises(UserError, match=message):
        paper_tables.main([*arguments, f"--data_dir={prepared_dir}", f"--workdir={tmp_path}"])


def test_in_a_table_it_costs_one_entry(call, tmp_path, capsys):
    large = dataclasses.replace(TINY, common=TINY.common | {"model.embedding_dim": 10**9})
    with pytest.raises(UserError, match=r"tuning shared_bottom: no trial succeeded.*cannot fit"):
        call("--seeds=1", "--entries=shared_bottom", protocol=large)
    assert (tmp_path / "adult/overall.md").exists()


def test_the_notes_of_one_seed_speak_of_no_spread(call, tmp_path, untrained):
    for seeds, said in ((1, "of one seed"), (2, "mean ± standard deviation over 2 seeds")):
        call(ONE, f"--seeds={seeds}")
        assert (
            f"AUC on the test split, {said} not used" in (tmp_path / "adult/overall.md").read_text()
        )


def test_an_edited_number_is_told(call, tmp_path, untrained):
    whole = call(ONE, "--seeds=1")
    (path,) = (tmp_path / "adult/runs").glob("shared_bottom-seed1-*/results.json")
    path.write_text(path.read_text().replace('"auc": 0.801', '"auc": 0.9'))
    with pytest.raises(UserError, match=r"results.json .*writes it again"):
        call(ONE, "--seeds=1")
    path.unlink()
    assert call(ONE, "--seeds=1")["rows"] == whole["rows"]


FULL = dataclasses.replace(
    TINY,
    common=TINY.common | {"train.max_steps": 0, "train.epochs": 3},
    trials=20,
    published=(Published("A paper", "in full", {"dtn": {"income": 0.99}}),),
)


REFERENCE = {"trees": {"test": {"income@all": 0.98}, "version": "trees 1"}}


@pytest.fixture
def with_references(monkeypatch):
    monkeypatch.setattr(references, "of_data", lambda data: REFERENCE)


def test_a_shortened_table_says_so_and_stands_alone(call, untrained, with_references, tmp_path):
    said = "train.max_steps=100 (in full: no limit); 2 of 20 trials"
    full = call(protocol=FULL)
    folder = tmp_path / "adult"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    made = call("--quick", protocol=FULL, folder="adult-shortened")
    assert said in "; ".join(made["shortened"])
    assert (made["references"], made["published"]) == ({}, [])
    assert (full["references"], len(full["published"])) == (REFERENCE, 1)
    assert "shortened" not in full
    page = (tmp_path / "adult-shortened" / "overall.md").read_text()
    assert page.startswith("# All architectures, shortened: adult")
    assert f"Shortened, to try it out: {said}" in page
    assert before == {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_it_costs_less(call, untrained, monkeypatch, with_references):
    steps = []

    def run(config, folder):
        steps.append(config.train.max_steps)
        return untrained(config, folder)

    monkeypatch.setattr(runs, "train", run)
    call("--quick", protocol=dataclasses.replace(FULL, seeds=9), folder="adult-shortened")
    assert steps == [100] * 4  # two entries, two seeds


def test_a_quick_table_that_was_cut_ends_as_an_uncut_one(call, untrained, monkeypatch, tmp_path):
    whole = call("--quick", protocol=FULL, folder="adult-shortened")
    shutil.rmtree(tmp_path / "adult-shortened")
    begun = []

    def cut(config, folder):
        begun.append(folder)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return untrained(config, folder)

    monkeypatch.setattr(runs, "train", cut)
    with pytest.raises(KeyboardInterrupt):
        call("--quick", protocol=FULL, folder="adult-shortened")
    assert call("--quick", protocol=FULL, folder="adult-shortened") == whole
    assert len(begun) == len({*begun}) + 1 == 5  # four runs, the third of them twice


def test_an_entry_with_a_length_of_its_own_is_shortened_too():
    entries = FULL.entries | {"dtn": FULL.entries["dtn"] | {"train.max_steps": 500}}
    made = quick(dataclasses.replace(FULL, entries=entries))
    assert configured(made, made.entries["dtn"]).train.max_steps == 100


def test_a_quick_run_validates_at_its_end():
    entries = FULL.entries | {"dtn": FULL.entries["dtn"] | {"train.eval_every": 5}}
    made = quick(dataclasses.replace(FULL, entries=entries))
    config = configured(made, made.entries["dtn"])
    assert (config.train.max_steps, config.train.eval_every) == (100, 100)


def test_test_rows_are_drawn_as_often_as_the_protocol_says_and_less_for_a_quick_table(
    call, untrained, monkeypatch
):
    drawn = []
    monkeypatch.setattr(runs, "draw", lambda folder, draws: drawn.append(draws))
    monkeypatch.setattr(protocol_module, "QUICK_DRAWS", 20)
    protocol = dataclasses.replace(FULL, draws=30)
    made = call("--quick", protocol=protocol, folder="adult-shortened")
    assert {*drawn} == {20}
    assert "20 of 30 draws of the test rows" in made["shortened"]
    call(protocol=protocol)
    assert drawn[-1] == 30
    assert quick(dataclasses.replace(FULL, draws=10)).draws == 10


def test_many_searches_are_cut_to_one_run_an_entry():
    few, many = (dataclasses.replace(FULL, searches={"dtn": count}) for count in (8, 9))
    assert [quick(of).runs_of("dtn") for of in (few, many)] == [2, 1]
    made = quick(many)
    assert (made.trials, made.searches_of("dtn")) == (0, ["dtn"])
    assert "1 of 9 searches" in made.cut


@pytest.mark.slow
def test_the_command_measures_and_trains_nothing(prepared_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(estimate, "STEPS", 2)
    monkeypatch.setattr(runs, "train", None)
    protocol = dataclasses.replace(TINY, finalists=3)
    monkeypatch.setattr(protocol_module, "load", lambda path: protocol)
    given = ["--dataset=adult", "--table=overall", f"--data_dir={prepared_dir}", "--estimate"]
    paper_tables.main([*given, f"--workdir={tmp_path}", "--entries=shared_bottom"])
    made = (tmp_path / "adult" / "estimate.md").read_text()
    line = next(line for line in made.splitlines() if "`shared_bottom`" in line)
    assert "1 + 9 + 2" in line
    assert "`dtn`" not in made
    assert "shared_bottom" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["adult", "estimate.md", "runs"]


@pytest.mark.parametrize(
    ("changes", "hours"),
    [  # 60 s to compile a row, 2 to begin a run, 10 to train it; the second row costs thrice that
        # Trials, others' settings, those trained again twice; 2 seeds of 2 rows.
        ({"transfer": True}, (2 * 60 + (12 + 2 + 16 + 4) * 2 + (3 + 2 + 16 + 8) * 10) / 3600),
        # 2 searches, each with its finalists; 4 final runs of each row.
        (
            {"searches": {"shared_bottom": 2}},
            (2 * 60 + (2 * (12 + 8) + 8) * 2 + (2 * (3 + 8) + 16) * 10) / 3600,
        ),
        ({"trials": 0}, (2 * 60 + 4 * 2 + 8 * 10) / 3600),
        # Of --quick: no trial ends early.
        ({"cut": ("short",)}, (2 * 60 + (3 + 8 + 4) * 2 + (3 + 8 + 8) * 10) / 3600),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
def test_hours_are_of_all_that_is_compiled_begun_and_trained(
    changes, hours, prepared_dir, tmp_path, monkeypatch
):
    usual = {"trials": 3, "finalists": 2, "finalist_seeds": 4}
    protocol = dataclasses.replace(TINY, **{**usual, **changes})
    of = runs.Runs(protocol, tmp_path, {"data.data_dir": str(prepared_dir)})
    cost = estimate.Cost(60.0, 2.0, 0.1, 10.0, 100, 10**6)
    monkeypatch.setattr(estimate, "measure", lambda *_: cost)
    flops = lambda entry: SimpleNamespace(flops_per_example=300 if entry.settings else 100)  # noqa: E731
    monkeypatch.setattr(of, "size", flops)
    rows = [Entry(name, "shared_bottom", at) for name, at in (("a", {}), ("b", {"seed": 1}))]
    found = estimate.estimate(of, {"overall": rows}, [], tmp_path)
    assert found == pytest.approx(hours)


def test_a_short_run_is_split_into_what_a_long_one_takes(prepared_dir, tmp_path, monkeypatch):
    # Seconds of the whole, of a step, of a validation; the first run compiles.
    seen = iter([(100.0, 0.3, 5.0), (40.0, 0.1, 2.0)])
    monkeypatch.setattr(estimate, "timed", lambda *_: next(seen))
    config = configured(TINY, {"data.data_dir": str(prepared_dir), "train.eval_every": 3})
    cost = estimate.measure(config, tmp_path)
    assert cost.compiling == 60
    assert cost.beginning == pytest.approx(40 - 3 * (estimate.STEPS * 0.1 + 2))
    assert cost.training == pytest.approx(4 * 0.1 + 2 * 2)  # validated at step 3 and at the end


def test_entries_keep_the_settings_of_a_protocol_without_trials(
    call, tmp_path, monkeypatch, untrained
):
    monkeypatch.setattr(tune, "tune", None)
    found = call(protocol=dataclasses.replace(TINY, trials=0))
    assert [row["seeds"] for row in found["rows"]] == [[1, 2], [1, 2]]
    page = (tmp_path / "adult" / "overall.md").read_text()
    assert "nothing is tuned, each entry has those of its protocol" in page
    assert "tuned by" not in page


@pytest.mark.nightly
def test_two_processes_share_a_table_and_a_killed_one_loses_nothing(prepared_dir, tmp_path):
    log, folder = tmp_path / "log", tmp_path / "adult"
    architectures = ("dtn", "shared_bottom", "mmoe", "ple")

    def start():
        given = ["--dataset=adult", "--table=overall", "--seeds=3", "--trials=1"]
        given += [f"--workdir={tmp_path}", f"--data_dir={prepared_dir}"]
        given += [f"--entries={','.join(architectures)}"]
        return subprocess.Popen(
            [sys.executable, invented_runs.__file__, log, *given],
            cwd=pathlib.Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])},
            stdout=subprocess.DEVNULL,
        )

    with contextlib.ExitStack() as started:
        victim, other = start(), start()
        for process in (victim, other):
            started.callback(process.wait)
            started.callback(process.kill)
        end = time.monotonic() + 300
        while not log.exists() or len(log.read_text().splitlines()) < 8:
            assert time.monotonic() < end
            assert victim.poll() is other.poll() is None
            time.sleep(0.05)
        victim.kill()
        assert other.wait(300) == 0
    begun = log.read_text().splitlines()
    wanted = {f"begin tuning {a}" for a in architectures}
    wanted |= {f"begin {a} {seed}" for a in architectures for seed in (1, 2, 3)}
    assert set(begun) == wanted
    assert len(begun) <= len(wanted) + 1  # that of the killed one was begun twice
    found = json.loads((folder / "overall.json").read_text())
    assert [row["seeds"] for row in found["rows"]] == [[1, 2, 3]] * len(architectures)
